"""What waits longer than it may is named by a clock that asks nobody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from brokers.base import Side
from execution import lifecycle
from execution.alarms import ALARMS, CLOCK, ENDED_BY_CLOSING, PROMISES, TOLD, Alarm, plain
from execution.descriptions import CAUSES
from execution.overdue import book_unread, over, overdue, unpriced
from execution.risk import Watch
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.tests.inmemory import ENTRY_AT, EXIT_AT, GRACE, LOT, committed, live_intent
from marketplace.tests.factories import leg_spec, strategy_spec

NOON = ENTRY_AT + dt.timedelta(hours=3)
CE = leg_spec("SELL", "CE", key="ce")
PE = leg_spec("SELL", "PE", key="pe")
EPSILON = 0.001


def after(start: dt.datetime, seconds: float) -> dt.datetime:
    return start + dt.timedelta(seconds=seconds)


def entering(**fields: Any) -> LiveExecution:
    """COMMITTED at T, both entries in one state."""
    execution = committed(strategy_spec([CE, PE]))
    for intent in execution.intents:
        for name, value in fields.items():
            setattr(intent, name, value)
    return execution


def opened(status: str = "OPEN") -> LiveExecution:
    """Both legs filled at T."""
    execution = entering(state=lifecycle.FILLED, filled_quantity=LOT)
    execution.status = status
    return execution


def leaving(state: str, **fields: Any) -> LiveExecution:
    """One leg is being closed by an order that was sent at noon."""
    execution = opened("EXITING")
    fields = {"due_at": NOON, "planned_at": NOON, "sends": 1} | fields
    live_intent(
        execution, leg_key="ce", purpose=lifecycle.EXIT, side=Side.BUY, state=state, **fields
    )
    return execution


def at_noon(execution: LiveExecution, seconds: float) -> set[tuple[str, str]]:
    """Causes and legs that are overdue so long after noon (monotonic zero is noon)."""
    return set(overdue(execution, after(NOON, seconds), seconds))


def uncertain_exit(seconds: float) -> set[tuple[str, str]]:
    return at_noon(leaving(lifecycle.UNKNOWN), seconds)


def sending_exit(seconds: float) -> set[tuple[str, str]]:
    return at_noon(leaving(lifecycle.SENDING), seconds)


def resting_exit(seconds: float) -> set[tuple[str, str]]:
    return at_noon(leaving(lifecycle.ACCEPTED), seconds)


def unknown_entry(seconds: float) -> set[tuple[str, str]]:
    execution = entering(state=lifecycle.UNKNOWN)
    return set(overdue(execution, after(ENTRY_AT, seconds), seconds))


def sending_entry(seconds: float) -> set[tuple[str, str]]:
    return set(overdue(entering(), after(ENTRY_AT, seconds), seconds))


def still_entering(seconds: float) -> set[tuple[str, str]]:
    execution = entering(state=lifecycle.ACCEPTED)
    return set(overdue(execution, after(ENTRY_AT + GRACE, seconds), seconds))


def still_exiting(seconds: float) -> set[tuple[str, str]]:
    execution = opened("EXITING")
    assert at_noon(execution, 0.0) == set()
    return at_noon(execution, seconds)


def unheard_cancel(seconds: float) -> set[tuple[str, str]]:
    resting = leaving(lifecycle.ACCEPTED, due_at=after(NOON, 100), cancel_since_mono=1.0)
    return at_noon(resting, 1.0 + seconds)


def stopped_leg(seconds: float) -> set[tuple[str, str]]:
    execution = opened()
    execution.run.leg_exits["ce"] = "STOP"
    assert at_noon(execution, 0.0) == set()
    return at_noon(execution, seconds)


def past_its_exit(seconds: float) -> set[tuple[str, str]]:
    return set(overdue(opened(), after(EXIT_AT, seconds), seconds))


Waits = Callable[[float], set[tuple[str, str]]]


@pytest.mark.parametrize(
    ("waits", "cause", "leg"),
    [
        (unknown_entry, "ENTRY_UNKNOWN", "ce"),
        (sending_entry, "ENTRY_UNKNOWN", "pe"),
        (still_entering, "ENTERING_LONG", ""),
        (uncertain_exit, "EXIT_UNKNOWN", "ce"),
        (sending_exit, "EXIT_UNKNOWN", "ce"),
        (resting_exit, "EXIT_RESTING", "ce"),
        (still_exiting, "EXITING_LONG", ""),
        (unheard_cancel, "CANCEL_UNHEARD", "ce"),
        (stopped_leg, "LEG_STAYS", "ce"),
        (past_its_exit, "PAST_EXIT", ""),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_what_waits_is_named_when_its_promise_is_broken(waits: Waits, cause: str, leg: str) -> None:
    """No alarm is raised before."""
    assert (cause, leg) not in waits(PROMISES[cause] - EPSILON)
    assert (cause, leg) in waits(PROMISES[cause])


def test_an_order_unknown_for_600_seconds_raised_nothing() -> None:
    """Seen with a broker whose book did not answer: no read, no alarm."""
    alarms = overdue(entering(state=lifecycle.UNKNOWN, message="504"), after(ENTRY_AT, 600), 600.0)
    assert set(alarms) == {
        ("ENTRY_UNKNOWN", "ce"),
        ("ENTRY_UNKNOWN", "pe"),
        ("ENTERING_LONG", ""),
    }
    assert alarms["ENTRY_UNKNOWN", "ce"].words == "504"


def test_a_wait_goes_on_over_a_restart() -> None:
    """The monotonic clock of the next process knows nothing of it; the order's row does."""
    restarted = entering(state=lifecycle.UNKNOWN, unknown_since_mono=5000.0)
    assert ("ENTRY_UNKNOWN", "ce") in overdue(restarted, after(ENTRY_AT, 600), 5000.0)


@pytest.mark.parametrize("status", ["ARMED", "WITHDRAWN", "CLOSED", "FAILED", "MISSED"])
def test_who_is_not_under_way_waits_for_nothing(status: str) -> None:
    execution = entering(state=lifecycle.UNKNOWN)
    execution.status = status
    assert overdue(execution, after(EXIT_AT, 600), 600.0) == {}


def test_a_day_that_goes_its_usual_way_raises_nothing() -> None:
    """The control of all of the above, second by second around the entry and the exit."""
    execution = entering()
    for second in range(10):
        assert not overdue(execution, after(ENTRY_AT, second), float(second))
    for intent in execution.intents:
        intent.state, intent.filled_quantity = lifecycle.FILLED, LOT
    execution.status = "OPEN"
    for second in range(0, 6 * 3600, 60):
        instant = after(ENTRY_AT, second)
        if instant < EXIT_AT:
            assert not overdue(execution, instant, float(second))
    execution.status = "EXITING"
    for second in range(10):
        assert not overdue(execution, after(EXIT_AT, second), 1e6 + second)


def test_after_a_leg_left_in_time_the_wait_begins_anew() -> None:
    """The first wait does not count for the second."""
    execution = opened()
    execution.run.leg_exits["ce"] = "STOP"
    at_noon(execution, 0.0)
    execution.closed_outside["ce"] = LOT
    assert at_noon(execution, 20.0) == set()
    execution.closed_outside.clear()
    assert at_noon(execution, 30.0) == set()
    assert at_noon(execution, 30.0 + PROMISES["LEG_STAYS"]) == {("LEG_STAYS", "ce")}


def test_the_fact_that_ended_a_wait_is_said_in_words() -> None:
    execution = leaving(lifecycle.UNKNOWN)
    exit_order = execution.intents[-1]
    execution.alarms = {("EXIT_UNKNOWN", "ce"), ("PAST_EXIT", ""), ("DUPLICATE", "ce")}
    exit_order.state = lifecycle.FILLED
    facts = dict(over(execution, {}))
    assert facts == {
        ("EXIT_UNKNOWN", "ce"): f"order {exit_order.tag} is FILLED",
        ("PAST_EXIT", ""): "nothing of it is open any more",
    }, "what a person has to settle is not over by itself"


# -- accounts and runs ---------------------------------------------------------------------------
def waiting_order(seconds: float) -> LiveIntent:
    return live_intent(state=lifecycle.UNKNOWN, due_at=after(NOON, -seconds))


def test_an_account_whose_book_is_not_read_is_named() -> None:
    late = PROMISES["BOOK_UNREAD"]
    assert book_unread([waiting_order(late)], None, NOON, 1000.0) == Alarm("BOOK_UNREAD")
    assert book_unread([waiting_order(600)], 1000.0 - late, NOON, 1000.0) == Alarm("BOOK_UNREAD")
    assert book_unread([waiting_order(600)], 1000.0 - late + EPSILON, NOON, 1000.0) is None
    assert book_unread([waiting_order(late - EPSILON)], None, NOON, 1000.0) is None
    assert book_unread([], None, NOON, 1000.0) is None, "nobody reads a book for nothing"


def held_run(**fields: Any) -> LiveRun:
    run = opened().run
    values: dict[str, Any] = {"stop": Decimal(130), "target": None} | fields
    run.watches["ce"] = Watch("ce", Side.SELL, Decimal(100), **values)
    return run


def test_a_stop_that_is_not_judged_for_want_of_a_price_is_named() -> None:
    run = held_run()
    assert unpriced(run, 50.0) is None
    assert unpriced(run, 50.0 + PROMISES["NO_PRICE"]) == Alarm("NO_PRICE", words="ce")
    run.priced_mono["ce"] = 55.0
    assert unpriced(run, 50.0 + PROMISES["NO_PRICE"]) is None


@pytest.mark.parametrize(
    "fields", [{"triggered": True}, {"stop": None}], ids=["triggered", "no rule"]
)
def test_a_leg_without_a_rule_to_judge_needs_no_price(fields: dict[str, Any]) -> None:
    run = held_run(**fields)
    unpriced(run, 0.0)
    assert unpriced(run, 600.0) is None


# -- the table and the runbook -------------------------------------------------------------------
def runbook() -> dict[str, list[str]]:
    """Cells of the runbook's rows in docs/trading-day.md, by cause."""
    text = Path(settings.BASE_DIR, "docs/trading-day.md").read_text()
    section = text.split("\n### Alarms\n")[1].split("\n#")[0]
    rows = [line.strip().strip("|").split("|") for line in section.splitlines() if "|" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    return {row[0]: row[1:] for row in cells if row[0].isupper()}


def test_the_runbook_names_every_cause_and_no_other() -> None:
    assert set(runbook()) == set(ALARMS)
    assert [cause for cause, cells in runbook().items() if min(map(len, cells[1:])) < 20] == []


def test_the_runbook_shows_the_seconds_that_are_promised() -> None:
    shown = {cause: cells[0] for cause, cells in runbook().items()}
    promised = {cause: f"{seconds:g} s" for cause, seconds in PROMISES.items()}
    assert {cause: text for cause, text in shown.items() if text != "at once"} == promised


def test_every_cause_has_a_sentence_that_ends() -> None:
    assert [cause for cause, words in ALARMS.items() if not words.endswith(".")] == []
    assert [cause for cause in ALARMS if len(cause) > 30] == []
    assert set(PROMISES) == CLOCK <= set(ALARMS)
    assert set(CAUSES) >= TOLD, "what a customer reads is in the words of the API"
    assert set(ALARMS) >= ENDED_BY_CLOSING


def test_the_database_takes_a_brokers_words() -> None:
    """An alarm's text is cut and cleaned so that its column accepts it."""
    assert plain("no\0 margin \ud800!", 300) == "no  margin ?!"
    assert len(plain("x" * 900, 300)) == 300
