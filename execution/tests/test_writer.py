"""What the executor may write, and what it may not: conditional updates by the shard's owner."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from brokers.base import BrokerInstrument, Outcome, SendResult, Side
from execution.alarms import Alarm
from execution.engine.database import loader
from execution.engine.database.alarm_writer import About, Raised
from execution.engine.database.writer import Batch, write
from execution.models import Alarm as AlarmRow
from execution.models import Execution, OrderIntent
from execution.price_changes import Change, note_answer, note_price
from execution.services import settle
from execution.state import LiveExecution, LiveIntent
from execution.steps import StatusChange
from execution.tests.leaserows import T, seconds
from execution.tests.writtenrows import CODE, OWNER, live_of, stored
from quantleap.core.audit import SYSTEM

pytestmark = pytest.mark.django_db


def held(row: OrderIntent) -> LiveIntent:
    """The row as an executor holds it."""
    return loader.intents_by_code([row.code])[0]


def put(batch: Batch, tokens: dict[int, int]) -> None:
    """Write as the owner."""
    write(batch, owner=OWNER, tokens=tokens, now=T + seconds(5))


def test_a_late_fill_of_a_final_order_is_kept(run: object, tokens: dict[int, int]) -> None:
    row = stored(run, state="CANCELLED", final_at=T, filled_quantity=0)
    live = held(row)
    live.filled_quantity, live.average_price = 40, Decimal(11)
    put(Batch(results=[live]), tokens)
    row.refresh_from_db()
    assert (row.state, row.filled_quantity, row.average_price) == ("CANCELLED", 40, Decimal(11))


def test_a_final_order_is_otherwise_left_alone(run: object, tokens: dict[int, int]) -> None:
    row = stored(run, state="FILLED", final_at=T, filled_quantity=65, average_price=10)
    live = held(row)
    live.state, live.cause = "REJECTED", "MARGIN"
    put(Batch(results=[live]), tokens)
    row.refresh_from_db()
    assert (row.state, row.cause) == ("FILLED", "")


def test_sending_is_granted_once_and_again_only_for_the_same_tag(
    run: object, tokens: dict[int, int]
) -> None:
    row = stored(run, state="PLANNED", sends=0)
    live = held(row)
    tag = f"Q{CODE}1"
    first = write(Batch(sending=[(live, tag)]), owner=OWNER, tokens=tokens, now=T)
    # The answer to that commit was lost: the same wish is granted again, another one is not.
    again = write(Batch(sending=[(live, tag)]), owner=OWNER, tokens=tokens, now=T)
    other = write(Batch(sending=[(live, f"Q{CODE}2")]), owner=OWNER, tokens=tokens, now=T)
    assert [set(w.sending) for w in (first, again, other)] == [{CODE}, {CODE}, set()]
    row.refresh_from_db()
    assert (row.state, row.sends, row.tag) == ("SENDING", 1, tag)


def test_the_same_place_in_the_plan_is_taken_once(run: object, tokens: dict[int, int]) -> None:
    row = stored(run)
    runs = {row.run_id: loader.live_run(row.run)}
    (execution,) = loader.load_executions(runs, [0], statuses=["COMMITTED"])
    twin = LiveIntent(
        code="C" * 12,
        tag="Q" + "C" * 12 + "1",
        execution_id=execution.id,
        account_id=execution.account_id,
        shard=0,
        leg_key=row.leg_key,
        leg_index=0,
        group=0,
        slice=0,
        purpose="ENTRY",
        attempt_group=0,
        contract_id=row.contract_id,
        instrument=BrokerInstrument("NFO", "X", "1"),
        side=Side.BUY,
        quantity=65,
        price=Decimal(10),
        reference_price=Decimal(10),
        due_at=T,
        planned_at=T + dt.timedelta(0),
        state="SENDING",
        sends=1,
    )
    batch = Batch(inserts=[(execution, twin)])
    assert write(batch, owner=OWNER, tokens=tokens, now=T).inserted == frozenset()
    assert OrderIntent.objects.count() == 1


# -- changes -------------------------------------------------------------------------------------
def asked(row: OrderIntent, *prices: int) -> Batch:
    """Changes of one order, of which the last is to be sent."""
    changes = tuple(Change(Decimal(10), Decimal(price), T, "FEED") for price in prices)
    return Batch(changing=[(held(row), changes)])


def test_a_change_is_granted_by_its_number(run: object, tokens: dict[int, int]) -> None:
    """A change is written before it is sent."""
    row = stored(run, state="ACCEPTED", sends=1)

    def grant(*prices: int) -> set[str]:
        return set(write(asked(row, *prices), owner=OWNER, tokens=tokens, now=T).changing)

    assert grant(11) == {CODE}
    assert grant(11) == {CODE}, "the answer to that commit was lost, and nothing was sent"
    assert grant(11, 12) == {CODE}
    assert grant(11) == set(), "an older number"
    assert grant(11, 12, 13, 14) == set(), "one before which nothing was written"
    row.refresh_from_db()
    assert [(c["price"], c["state"], c["source"]) for c in row.changes] == [
        ("11", "ASKED", "FEED"),
        ("12", "ASKED", "FEED"),
    ]


@pytest.mark.parametrize("state", ["SENDING", "UNKNOWN", "FILLED", "CANCELLED", "MISSED"])
def test_only_what_is_at_the_broker_is_changed(
    run: object, tokens: dict[int, int], state: str
) -> None:
    row = stored(run, state=state, sends=1, filled_quantity=65 if state == "FILLED" else 0)
    assert not write(asked(row, 11), owner=OWNER, tokens=tokens, now=T).changing
    row.refresh_from_db()
    assert row.changes == []


def test_whoever_lost_the_shard_changes_nothing(run: object, tokens: dict[int, int]) -> None:
    row = stored(run, state="ACCEPTED", sends=1)
    stale = {shard: token - 1 for shard, token in tokens.items()}
    assert not write(asked(row, 11), owner=OWNER, tokens=stale, now=T).changing


def test_what_became_of_a_change_is_kept_of_a_final_order_too(
    run: object, tokens: dict[int, int]
) -> None:
    row = stored(run, state="ACCEPTED", sends=1)
    put(asked(row, 11), tokens)
    live = held(row)
    assert live.changes[0].state == "UNKNOWN", "it was on its way when it was loaded"
    live.changes = (Change(Decimal(10), Decimal(11), T, "FEED"),)
    result = SendResult(Outcome.ACCEPTED, broker_order_id=live.broker_order_id)
    note_answer(live, 0, result, at=T + seconds(1), now_mono=1.0)
    note_price(live, Decimal(11), at=T + seconds(2), now_mono=2.0)
    live.state, live.filled_quantity, live.average_price = "FILLED", 65, Decimal(11)
    put(Batch(results=[live]), tokens)
    live.changes = ()
    put(Batch(results=[live]), tokens)
    row.refresh_from_db()
    assert (row.state, row.price) == ("FILLED", Decimal("11.00"))
    assert [(c["price"], c["state"]) for c in row.changes] == [("11", "DONE")]


# -- alarms --------------------------------------------------------------------------------------


def alarmed(execution: LiveExecution, cause: str) -> list[Raised]:
    return [Raised(About.of(execution), Alarm(cause))]


def test_an_alarm_was_erased_by_the_next_status(run: object, tokens: dict[int, int]) -> None:
    execution = live_of(stored(run))
    put(
        Batch(
            statuses=[StatusChange(execution, "", "CLOSED_OUTSIDE", "hand")],
            raised=alarmed(execution, "CLOSED_OUTSIDE"),
        ),
        tokens,
    )
    put(Batch(statuses=[StatusChange(execution, "OPEN")]), tokens)
    row = Execution.objects.get()
    assert (row.status, row.cause, row.message) == ("OPEN", "CLOSED_OUTSIDE", "hand")
    assert row.needs_attention


def test_a_settled_alarm_came_back_with_the_next_status(
    run: object, tokens: dict[int, int]
) -> None:
    """Seen: Settle, then a status change, and the flag was written back."""
    execution = live_of(stored(run))
    put(
        Batch(
            statuses=[StatusChange(execution, "OPEN", "DUPLICATE")],
            raised=alarmed(execution, "DUPLICATE"),
        ),
        tokens,
    )
    execution.status = "OPEN"
    alarm = AlarmRow.objects.get()
    settle(alarm_id=alarm.pk, note="one was cancelled", actor=SYSTEM, now=T)
    put(Batch(statuses=[StatusChange(execution, "EXITING")]), tokens)
    row = Execution.objects.get()
    assert (row.status, row.needs_attention) == ("EXITING", False)
    put(Batch(statuses=[StatusChange(execution, "CLOSED")]), tokens)
    assert AlarmRow.objects.get().settled_at == T
