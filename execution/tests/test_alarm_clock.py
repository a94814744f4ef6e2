"""An executor's alarms: told with its next batch, not lost with the database, ended by facts.

A real executor with its parts, driven by hand: no broker is there to answer anything.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import Side
from execution import duplicates, lifecycle
from execution.alarms import PROMISES
from execution.engine.database import leases, loader
from execution.engine.executor import Executor
from execution.engine.memory.fence import moment
from execution.engine.runtime.database_pool import DatabaseDown
from execution.models import Alarm, Execution, OrderIntent, Run, ShardLease
from execution.risk import Watch
from execution.services import settle
from execution.state import LiveExecution
from execution.tests.inmemory import resolved_legs
from execution.tests.writtenrows import stored
from execution.timing import from_settings
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = pytest.mark.django_db(transaction=True)


def ago(seconds: float) -> dt.datetime:
    return clock.now() - dt.timedelta(seconds=seconds)


def start(name: str) -> Executor:
    """An executor that owns every shard and does nothing by itself."""
    executor = Executor(from_settings(), name=name)
    leases.ensure_rows(executor.timing.shards)
    claims = leases.claim(owner=name, wanted=8, ttl=3600)
    executor.ownership.tokens = {claim.shard: claim.token for claim in claims}
    executor.ownership.fence.renewed(moment())
    return executor


@pytest.fixture
def begin(run: Run) -> Iterator[Callable[[str], Executor]]:
    """Starts an executor that holds everything; the lease of the one before has run out."""
    started: list[Executor] = []

    def work(name: str) -> Executor:
        ShardLease.objects.update(owner="", expires_at=None)
        executor = start(name)
        started.append(executor)
        held = loader.live_run(Run.objects.get())
        executor.day.runs[held.id] = held
        executor.day.adopt(
            loader.load_executions(executor.day.runs, range(8), statuses=("COMMITTED", "OPEN"))
        )
        return executor

    yield work
    for executor in started:
        executor.db.close()
        executor.feeds.close()


@pytest.fixture
def unknown(run: Run) -> OrderIntent:
    """An entry order that was sent ten minutes ago into silence; its run is under way."""
    Run.objects.update(entry_at=ago(600), grace_until=ago(570), exit_at=ago(-3600))
    row = stored(run, state="UNKNOWN", sends=1, message="504 Gateway Timeout")
    OrderIntent.objects.update(due_at=ago(600))
    return row


def tick(executor: Executor) -> None:
    """What a second brings: a look at the clock, then a round."""

    async def work() -> None:
        await executor.alarm_clock.once()
        await executor.rounds.once()

    asyncio.run(work())


def held(executor: Executor) -> LiveExecution:
    (execution,) = executor.day.executions.values()
    return execution


def alarms() -> dict[str, str]:
    """Cause -> what became of it."""
    return {
        row.cause: "settled" if row.settled_at else "cleared" if row.cleared_at else "open"
        for row in Alarm.objects.order_by("id")
    }


def test_unknown_for_600_seconds_with_a_dead_book_raised_nothing(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """No channel, no book, nothing read: the rows and the clock are enough."""
    executor = begin("one")
    tick(executor)
    assert alarms() == {"ENTRY_UNKNOWN": "open", "ENTERING_LONG": "open", "BOOK_UNREAD": "open"}
    row = Alarm.objects.get(cause="ENTRY_UNKNOWN")
    assert (row.execution_id, row.words) == (unknown.execution_id, "504 Gateway Timeout")
    assert (row.leg_key, row.order_tag) == (unknown.leg_key, unknown.tag)
    assert Alarm.objects.get(cause="BOOK_UNREAD").account_id == unknown.account_id
    execution = Execution.objects.get()
    assert (execution.needs_attention, execution.cause) == (True, ""), (
        "a customer's page says no more"
    )
    for _ in range(3):
        tick(executor)
    assert Alarm.objects.count() == 3


def test_a_dead_book_is_named_while_an_order_may_turn_up(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """Seen in a story: an execution was held for an order given up, and nobody was told."""
    OrderIntent.objects.update(state="MISSED", cause="BROKER_DOWN")
    Run.objects.update(grace_until=ago(-20))
    executor = begin("one")
    (given_up,) = held(executor).intents
    duplicates.watch(given_up, 10.0, clock.monotonic() - 60)
    tick(executor)
    assert alarms() == {"BOOK_UNREAD": "open"}
    assert duplicates.looked(given_up, clock.monotonic())
    tick(executor)
    assert alarms() == {"BOOK_UNREAD": "cleared"}


def test_the_control_an_order_of_a_moment_ago_raises_nothing(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    OrderIntent.objects.update(due_at=ago(1))
    Run.objects.update(grace_until=ago(-20))
    tick(begin("one"))
    assert alarms() == {}


def test_what_was_settled_is_not_raised_again_while_it_lasts(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """Neither the same executor nor the next one raises an alarm that a person settled."""
    first = begin("one")
    tick(first)
    for row in Alarm.objects.all():
        settle(alarm_id=row.pk, note="at the broker's desk", actor=SYSTEM, now=clock.now())
    tick(first)
    second = begin("two")
    tick(second)
    assert set(alarms().values()) == {"settled"}
    assert Alarm.objects.count() == 3


def test_the_fact_that_ends_a_wait_clears_its_alarms(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """The next executor clears alarms that an earlier one raised."""
    tick(begin("one"))
    OrderIntent.objects.update(state="FILLED", filled_quantity=unknown.quantity)
    executor = begin("two")
    tick(executor)
    tick(executor)
    assert set(alarms().values()) == {"cleared"}
    said = Alarm.objects.get(cause="ENTRY_UNKNOWN").cleared_by
    assert said == f"order {unknown.tag} is FILLED"
    assert Execution.objects.get().status == "OPEN"


def test_an_alarm_is_not_lost_with_the_database(
    unknown: OrderIntent, begin: Callable[[str], Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: it was taken out of memory before it was written, and never came back."""
    executor = begin("one")
    answers = executor.db.run

    async def fail(function: Any, *args: Any, **fields: Any) -> Any:
        raise DatabaseDown("server closed the connection")

    asyncio.run(executor.alarm_clock.once())
    monkeypatch.setattr(executor.db, "run", fail)
    with pytest.raises(DatabaseDown):
        asyncio.run(executor.rounds.once())
    assert alarms() == {}
    monkeypatch.setattr(executor.db, "run", answers)
    asyncio.run(executor.rounds.once())
    assert set(alarms().values()) == {"open"}
    assert "ENTRY_UNKNOWN" in alarms()


def test_a_second_cause_was_never_told_while_the_first_was_open(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """Seen: one flag for everything, so that a duplicate hid behind an expired session."""
    OrderIntent.objects.update(due_at=clock.now())
    Run.objects.update(grace_until=ago(-20))
    executor = begin("one")
    execution = held(executor)
    for _ in range(2):
        executor.work.alarm(execution.id, "SESSION_EXPIRED")
        executor.work.alarm(execution.id, "DUPLICATE", leg="ce", words="2608, 2609")
        tick(executor)
    assert alarms() == {"SESSION_EXPIRED": "open", "DUPLICATE": "open"}
    assert Execution.objects.get().cause == "SESSION_EXPIRED", "the customer reads the first"


def test_what_is_told_and_calmed_may_be_told_again(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    OrderIntent.objects.update(due_at=clock.now())
    Run.objects.update(grace_until=ago(-20))
    executor = begin("one")
    execution = held(executor)
    for _ in range(2):
        executor.work.alarm(execution.id, "NO_WITNESS", leg="ce")
        tick(executor)
        executor.work.calm(execution.id, "NO_WITNESS", leg="ce", fact="the broker answered")
        tick(executor)
    assert [row.cleared_by for row in Alarm.objects.all()] == ["the broker answered"] * 2
    executor.work.alarm(execution.id, "NO_WITNESS", leg="ce")
    executor.work.calm(execution.id, "NO_WITNESS", leg="ce", fact="at once")
    tick(executor)
    assert Alarm.objects.count() == 2, "over before anybody was told"


def test_a_refused_row_keeps_no_other_alarm_back(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """An order that the database refuses is named UNWRITABLE, beside all alarms that were due."""
    executor = begin("one")
    execution = held(executor)
    (intent,) = execution.intents
    intent.message = "nobody's \0 column holds this"
    executor.work.changed(intent)
    tick(executor)
    assert set(alarms()) == {"ENTRY_UNKNOWN", "ENTERING_LONG", "BOOK_UNREAD", "UNWRITABLE"}


def test_a_stop_without_a_price_is_named_while_the_session_lasts(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    """Not at night: then nobody has a price, and no stop is judged."""
    OrderIntent.objects.update(due_at=clock.now())
    executor = begin("one")
    held_run = held(executor).run
    held_run.resolved = resolved_legs(held_run.strategy)
    leg = held_run.strategy.legs[0]
    held_run.watches = {leg.key: Watch(leg.key, Side(leg.side), Decimal(100), Decimal(130), None)}
    held_run.priced_mono = {leg.key: clock.monotonic() - PROMISES["NO_PRICE"]}
    held_run.closes_unix = clock.timestamp() - 1
    tick(executor)
    assert "NO_PRICE" not in alarms()
    held_run.closes_unix = clock.timestamp() + 3600
    tick(executor)
    assert Alarm.objects.get(cause="NO_PRICE").run_id == held_run.id
    held_run.priced_mono[leg.key] = clock.monotonic()
    tick(executor)
    assert alarms()["NO_PRICE"] == "cleared"


def test_a_broker_that_was_asked_to_cancel_and_does_not_is_named(
    unknown: OrderIntent, begin: Callable[[str], Executor]
) -> None:
    OrderIntent.objects.update(state="ACCEPTED", due_at=clock.now(), broker_order_id="2608")
    executor = begin("one")
    (intent,) = held(executor).intents
    tick(executor)
    assert intent.state == lifecycle.ACCEPTED
    assert intent.cancel_since_mono, "its grace is over: the round has asked for its cancel"
    asked = intent.cancel_since_mono
    intent.cancel_since_mono -= PROMISES["CANCEL_UNHEARD"]
    tick(executor)
    assert asked
    assert alarms()["CANCEL_UNHEARD"] == "open"
