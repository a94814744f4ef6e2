"""Alarms as rows: raised once, never written away, ended by people or by facts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from django.db import connection, transaction

from execution.alarms import Alarm
from execution.engine.database import loader
from execution.engine.database.alarm_writer import About, Cleared, Raised, insert_alarms
from execution.engine.database.writer import Batch, Written, write
from execution.models import Alarm as AlarmRow
from execution.models import Execution, Run
from execution.services import acknowledge, settle, settle_all
from execution.state import LiveExecution
from execution.steps import StatusChange
from execution.tests.armedruns import MANY
from execution.tests.leaserows import T, seconds
from execution.tests.racing import meanwhile
from execution.tests.writtenrows import OWNER, live_of, stored
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidTransition, NotFound
from quantleap.core.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def execution(run: Run, tokens: dict[int, int]) -> LiveExecution:
    """One committed execution, as its executor holds it."""
    return live_of(stored(run))


def put(
    tokens: dict[int, int],
    *raised: Raised,
    cleared: Sequence[Cleared] = (),
    statuses: Sequence[StatusChange] = (),
) -> Written:
    batch = Batch(raised=list(raised), cleared=list(cleared), statuses=list(statuses))
    return write(batch, owner=OWNER, tokens=tokens, now=T + seconds(5))


def on(execution: LiveExecution, cause: str, leg: str = "", words: str = "") -> Raised:
    return Raised(About.of(execution), Alarm(cause, leg, words))


def open_causes() -> list[str]:
    return sorted(AlarmRow.objects.filter(AlarmRow.OPEN).values_list("cause", flat=True))


def test_an_alarm_is_raised_once_and_each_cause_has_its_row(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    """Seen: a flag with one cause, so that the second thing to go wrong was never told."""
    first = put(tokens, on(execution, "DUPLICATE", "ce", "2608, 2609"))
    again = put(tokens, on(execution, "DUPLICATE", "ce", "2608, 2610"))
    put(tokens, on(execution, "DUPLICATE", "pe"), on(execution, "PAST_EXIT"))
    assert (len(first.raised), len(again.raised)) == (1, 0)
    assert open_causes() == ["DUPLICATE", "DUPLICATE", "PAST_EXIT"]
    row = AlarmRow.objects.get(cause="DUPLICATE", leg_key="ce")
    assert (row.words, row.raised_by, row.raised_at) == ("2608, 2609", OWNER, T + seconds(5))
    assert Execution.objects.get(needs_attention=True).pk == execution.id
    assert Execution.objects.get().needs_attention


@pytest.mark.parametrize("status", ["OPEN", "EXITING", "CLOSED"])
def test_the_next_snapshot_erased_a_closed_outside_alarm(
    execution: LiveExecution, tokens: dict[int, int], status: str
) -> None:
    put(tokens, on(execution, "CLOSED_OUTSIDE", "ce"))
    put(tokens, statuses=[StatusChange(execution, status, closed_outside={"ce": 65})])
    assert Execution.objects.get().status == status
    assert open_causes() == ["CLOSED_OUTSIDE"]


def test_settle_then_a_status_change_wrote_the_settled_flag_back(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    put(tokens, on(execution, "DUPLICATE"))
    settle(alarm_id=AlarmRow.objects.get().pk, note="cancelled by hand", actor=SYSTEM, now=T)
    for status in ("OPEN", "EXITING", "CLOSED"):
        put(tokens, statuses=[StatusChange(execution, status, "DUPLICATE")])
        assert not Execution.objects.get().needs_attention
    row = AlarmRow.objects.get()
    assert (row.settled_by, row.note) == (SYSTEM.id, "cancelled by hand")


def test_a_settled_cause_that_comes_back_is_a_new_row(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    put(tokens, on(execution, "CLOSED_OUTSIDE", "ce"))
    settle(alarm_id=AlarmRow.objects.get().pk, note="the customer", actor=SYSTEM, now=T)
    put(tokens, on(execution, "CLOSED_OUTSIDE", "ce", "65 units"))
    assert AlarmRow.objects.count() == 2
    assert AlarmRow.objects.get(AlarmRow.OPEN).words == "65 units"


def test_what_ended_an_alarm_is_kept_with_it_settled_or_not(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    put(tokens, on(execution, "EXIT_RESTING", "ce"), on(execution, "EXIT_RESTING", "pe"))
    settle(alarm_id=AlarmRow.objects.get(leg_key="pe").pk, note="seen", actor=SYSTEM, now=T)
    about = About.of(execution)
    facts = [Cleared(about, "EXIT_RESTING", leg, "the order is FILLED") for leg in ("ce", "pe")]
    put(tokens, cleared=facts)
    put(tokens, cleared=[Cleared(about, "EXIT_RESTING", "ce", "something else")])
    assert {row.cleared_by for row in AlarmRow.objects.all()} == {"the order is FILLED"}
    assert not Execution.objects.get().needs_attention
    put(tokens, on(execution, "EXIT_RESTING", "ce"))
    assert Execution.objects.get().needs_attention, "it came back"


def test_an_ended_execution_may_still_ask_for_a_person(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    """Alarms about waiting are cleared when an execution ends; a duplicate's alarm stays open."""
    put(
        tokens,
        on(execution, "PAST_EXIT"),
        on(execution, "PRICE_BAND", "ce"),
        on(execution, "DUPLICATE", "ce"),
        statuses=[StatusChange(execution, "CLOSED")],
    )
    assert open_causes() == ["DUPLICATE"]
    assert AlarmRow.objects.get(cause="PAST_EXIT").cleared_by == "the execution is CLOSED"


def test_a_failed_execution_keeps_the_alarms_of_its_exits(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    put(
        tokens,
        on(execution, "ENTRY_UNKNOWN", "ce"),
        on(execution, "PRICE_BAND", "ce"),
        statuses=[StatusChange(execution, "FAILED", "MARGIN")],
    )
    assert open_causes() == ["PRICE_BAND"]


def test_the_next_executor_knows_what_was_said_and_settled(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    """Without that a restart would raise again what somebody has settled."""
    put(tokens, on(execution, "DUPLICATE", "ce"), on(execution, "NO_WITNESS", "ce"))
    put(tokens, on(execution, "EXIT_RESTING", "ce"))
    settle_all(execution_id=execution.id, note="seen", actor=SYSTEM, now=T)
    put(tokens, cleared=[Cleared(About.of(execution), "NO_WITNESS", "ce", "it answered")])
    held = {execution.run.id: execution.run}
    (loaded,) = loader.load_executions(held, range(8), statuses=("COMMITTED",))
    assert loaded.alarms == {("DUPLICATE", "ce"), ("EXIT_RESTING", "ce")}


def test_accounts_and_runs_have_alarms_too(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    account = About(account_id=execution.account_id, shard=execution.shard)
    both = (account, About(run_id=execution.run.id))
    for _ in range(2):
        put(tokens, Raised(both[0], Alarm("BOOK_UNREAD")), Raised(both[1], Alarm("NO_PRICE")))
    assert open_causes() == ["BOOK_UNREAD", "NO_PRICE"]
    assert set(loader.alarms_about(both)) == {
        (both[0], ("BOOK_UNREAD", "")),
        (both[1], ("NO_PRICE", "")),
    }
    put(tokens, cleared=[Cleared(account, "BOOK_UNREAD", "", "it was read")])
    assert open_causes() == ["NO_PRICE"]
    assert not Execution.objects.get().needs_attention


def test_the_shard_of_another_is_not_ours_to_raise_about(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    del tokens[execution.shard]
    put(
        tokens,
        on(execution, "DUPLICATE"),
        Raised(About(run_id=execution.run.id), Alarm("NO_PRICE")),
    )
    assert open_causes() == ["NO_PRICE"], "a run is everybody's"


# -- the database refuses one --------------------------------------------------------------------
def test_a_refused_alarm_is_named_and_the_others_are_raised(
    executions: list[LiveExecution], many_tokens: dict[int, int]
) -> None:
    """The database refuses the first, a middle and the last alarm of a batch, in turn."""
    for poisoned in (0, 24, MANY - 1):
        AlarmRow.objects.all().delete()
        raised = [
            on(e, "X" * 31 if number == poisoned else "PAST_EXIT")
            for number, e in enumerate(executions)
        ]
        written = put(many_tokens, *raised)
        assert len(written.raised) == MANY - 1
        assert open_causes() == ["PAST_EXIT"] * (MANY - 1) + ["UNWRITABLE"]
        assert [refused.execution_id for refused in written.refused] == [executions[poisoned].id]


def test_whatever_a_broker_says_an_alarm_is_not_refused_for_it(
    execution: LiveExecution, tokens: dict[int, int]
) -> None:
    written = put(tokens, on(execution, "PRICE_BAND", "ce", "\ud83d\0" + "circuit " * 99))
    assert written.refused == ()
    assert AlarmRow.objects.get().words.startswith("? circuit")


# -- two at once ---------------------------------------------------------------------------------
def raise_in_parallel(run: Run, leg: str, *, waits: bool) -> list[int]:
    """How many rows each of two executors got: the second arrives before the first commits."""
    written: list[int] = []
    inserted = threading.Event()

    def put_in(owner: str, leg: str) -> None:
        raised = [Raised(About(run_id=run.pk), Alarm("NO_PRICE", leg))]
        with connection.cursor() as cursor:
            written.append(len(insert_alarms(cursor, raised, owner=owner, now=T)))

    def other() -> None:
        assert inserted.wait(20)
        with transaction.atomic():
            put_in("b", leg)

    with meanwhile(other) as through, transaction.atomic():
        put_in("a", "")
        inserted.set()
        assert through.wait(0.5 if waits else 20) is not waits
    return written


@pytest.mark.django_db(transaction=True)
def test_two_executors_in_parallel_raise_the_same_once(run: Run) -> None:
    assert raise_in_parallel(run, "", waits=True) == [1, 0]
    assert AlarmRow.objects.get().raised_by == "a"


@pytest.mark.django_db(transaction=True)
def test_control_two_different_alarms_are_two_rows(run: Run) -> None:
    """Neither of two executors that raise different alarms in parallel waits for the other."""
    assert raise_in_parallel(run, "ce", waits=False) == [1, 1]


# -- people --------------------------------------------------------------------------------------
@pytest.fixture
def alarm(execution: LiveExecution, tokens: dict[int, int]) -> AlarmRow:
    put(tokens, on(execution, "DUPLICATE", "ce"))
    return AlarmRow.objects.get()


def test_an_acknowledged_alarm_stays_open_and_says_who_is_at_it(alarm: AlarmRow) -> None:
    acknowledge(alarm_id=alarm.pk, actor=SYSTEM, now=T)
    alarm.refresh_from_db()
    assert (alarm.acknowledged_at, alarm.acknowledged_by) == (T, SYSTEM.id)
    assert Execution.objects.get().needs_attention
    with pytest.raises(InvalidTransition):
        acknowledge(alarm_id=alarm.pk, actor=SYSTEM, now=T + seconds(1))
    settle(alarm_id=alarm.pk, note="closed by hand", actor=SYSTEM, now=T + seconds(2))
    with pytest.raises(InvalidTransition):
        settle(alarm_id=alarm.pk, note="again", actor=SYSTEM, now=T + seconds(3))
    with pytest.raises(InvalidTransition):
        acknowledge(alarm_id=alarm.pk, actor=SYSTEM, now=T + seconds(3))


def test_what_people_do_about_an_alarm_stands_in_the_audit(alarm: AlarmRow) -> None:
    acknowledge(alarm_id=alarm.pk, actor=SYSTEM, now=T)
    settle(alarm_id=alarm.pk, note="closed by hand", actor=SYSTEM, now=T)
    audited = {entry.action: entry.data for entry in AuditEntry.objects.filter(target_type="alarm")}
    assert alarm.execution is not None
    about = {"cause": "DUPLICATE", "about": alarm.execution.public_id}
    assert audited == {
        "alarm.acknowledged": about,
        "alarm.settled": about | {"note": "closed by hand"},
    }


def test_nobody_settles_what_is_not_there(execution: LiveExecution) -> None:
    with pytest.raises(NotFound):
        settle(alarm_id=0, note="x", actor=SYSTEM, now=T)
    with pytest.raises(NotFound):
        settle_all(execution_id=0, note="x", actor=SYSTEM, now=T)
    with pytest.raises(InvalidTransition):
        settle_all(execution_id=execution.id, note="x", actor=SYSTEM, now=T)
