"""Another price for an exit that rests: when it is asked for, what answers prove, what may fill.

Seen (a4b): exits rested, the broker refused every cancel and took changes, and nothing ever left.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import BookState, Cause, Outcome, PriceBand, SendResult, Side
from execution import lifecycle, price_changes, transitions
from execution.alarms import CANCEL_UNHEARD, EXIT_RESTING, EXIT_UNFILLED, PROMISES
from execution.backoff import EXIT_REST_SECONDS
from execution.engine.exits.price_sources import _tries
from execution.next_steps import next_steps
from execution.overdue import overdue
from execution.price_changes import ASKED, DONE, KEPT, REFUSED, TAKEN, UNKNOWN, Change
from execution.send_gate import GRANT_SECONDS, in_the_way, why_not_change
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation, Steps
from execution.tests.changewords import ACCEPTED, MOST, REFUSES, SILENT
from execution.tests.inmemory import (
    ENTRY_AT,
    EXIT_AT,
    LOT,
    committed,
    live_execution,
    live_intent,
    report,
)
from execution.withdrawals import note_cancel
from marketplace.tests.factories import leg_spec, strategy_spec

NOW = 1000.0
CE = leg_spec("SELL", "CE", key="ce")


def at(seconds: float, most: int = MOST, **fields: Any) -> Situation:
    return Situation(
        now_mono=NOW + seconds, grace_over=True, exit_due=True, most_changes=most, **fields
    )


def resting(**fields: Any) -> tuple[LiveExecution, LiveIntent]:
    """A sold leg whose exit was accepted at NOW, and rests at 98."""
    execution = committed(strategy_spec([CE]))
    (entry,) = execution.intents
    entry.state, entry.filled_quantity, entry.sends = lifecycle.FILLED, LOT, 1
    execution.status = "EXITING"
    values: dict[str, Any] = {
        "purpose": lifecycle.EXIT,
        "side": Side.BUY,
        "state": lifecycle.ACCEPTED,
        "sends": 1,
        "broker_order_id": "B1",
        "sent_mono": NOW,
        "seen_mono": NOW,
        "cancel_after_mono": NOW + EXIT_REST_SECONDS,
    }
    return execution, live_intent(execution, **{**values, **fields})


def ask(intent: LiveIntent, price: int | str, seconds: float) -> int:
    """A change is written down and sent; its number."""
    change = Change(intent.price, Decimal(price), ENTRY_AT)
    price_changes.note_wanted(intent, NOW + seconds)
    price_changes.note_asked(intent, change, NOW + seconds)
    return len(intent.changes) - 1


def answer(intent: LiveIntent, result: SendResult, seconds: float, number: int = -1) -> bool:
    place = number % len(intent.changes)
    return price_changes.note_answer(intent, place, result, at=ENTRY_AT, now_mono=NOW + seconds)


def show(
    intent: LiveIntent, price: int | str | None, seconds: float, filled: int = 0, **fields: Any
) -> bool:
    """A row of the book, or an update."""
    row = report(intent, BookState.OPEN, filled)
    shown = None if price is None else Decimal(price)
    row = replace(row, price=shown, **fields)
    return transitions.apply_report(intent, row, at=ENTRY_AT, now_mono=NOW + seconds)


def asks_for(steps: Steps) -> tuple[bool, bool, bool]:
    """Whether a change, a cancel, another order is asked for."""
    return bool(steps.change), bool(steps.cancel), bool(steps.exits)


CHANGE, CANCEL, NOTHING = (True, False, False), (False, True, False), (False, False, False)


# -- when --------------------------------------------------------------------------------------
def test_a_resting_exit_is_changed_or_withdrawn() -> None:
    """The exit is changed where the broker accepts changes, and withdrawn elsewhere."""
    execution, _ = resting()
    assert asks_for(next_steps(execution, at(2.9))) == NOTHING
    assert asks_for(next_steps(execution, at(3))) == CHANGE
    assert asks_for(next_steps(execution, at(3, most=0))) == CANCEL


def test_an_entry_that_rests_is_withdrawn_and_never_changed() -> None:
    execution = committed(strategy_spec([CE]))
    (entry,) = execution.intents
    entry.state, entry.sends, entry.broker_order_id = lifecycle.ACCEPTED, 1, "B1"
    entry.cancel_after_mono = NOW
    assert asks_for(next_steps(execution, at(3))) == CANCEL


def test_after_the_close_nothing_is_asked_any_more() -> None:
    execution, _ = resting()
    assert asks_for(next_steps(execution, at(3, session_over=True))) == NOTHING


def test_a_change_that_the_book_shows_lets_the_order_rest_anew() -> None:
    execution, intent = resting()
    ask(intent, 99, 3)
    assert asks_for(next_steps(execution, at(3.5))) == NOTHING, "it is on its way"
    answer(intent, ACCEPTED, 3.5)
    assert (intent.changes[0].state, intent.price) == (TAKEN, Decimal(98)), "nobody has seen it"
    assert show(intent, 99, 4)
    assert (intent.changes[0].state, intent.price) == (DONE, Decimal(99))
    assert asks_for(next_steps(execution, at(6.9))) == NOTHING
    assert asks_for(next_steps(execution, at(7.5))) == CHANGE


@pytest.mark.parametrize(
    ("result", "patience"),
    [
        pytest.param(REFUSES, 0.0, id="refused"),
        pytest.param(SILENT, price_changes.HEARD_WITHIN, id="unanswered"),
        pytest.param(ACCEPTED, price_changes.HEARD_WITHIN, id="taken_and_never_seen"),
    ],
)
def test_after_a_futile_change_the_order_is_withdrawn(result: SendResult, patience: float) -> None:
    """The broker refused the change."""
    execution, intent = resting()
    ask(intent, 99, 3)
    answer(intent, result, 4)
    if patience:
        assert asks_for(next_steps(execution, at(4 + patience - 0.1))) == NOTHING
    assert asks_for(next_steps(execution, at(4 + patience + 0.1))) == CANCEL


def test_an_unknown_change_is_followed_by_no_other_order() -> None:
    """A change without an answer is not done either: no order leaves beside one that may rest."""
    execution, intent = resting()
    ask(intent, 99, 3)
    answer(intent, SILENT, 4)
    for second in range(4, 400):
        steps = next_steps(execution, at(second))
        assert not steps.exits
        for order in steps.cancel:
            note_cancel(execution, order, NOW + second)
    assert (intent.changes[0].state, intent.price) == (UNKNOWN, Decimal(98))
    assert show(intent, 99, 400), "a minute later the book shows it after all"
    assert (intent.changes[0].state, intent.price) == (DONE, Decimal(99))


def test_a_futile_cancel_is_followed_by_a_change() -> None:
    """Cancels and changes back off. Both are refused for 75 s; seen before were 2,304 cancels."""
    execution, intent = resting()
    asked = []
    for quarter in range(300):
        seconds = quarter / 4
        steps = next_steps(execution, at(seconds))
        assert not steps.exits
        for _ in steps.change:
            ask(intent, 99 + len(intent.changes), seconds)
            answer(intent, REFUSES, seconds)
            asked.append((seconds, "change"))
        for order in steps.cancel:
            note_cancel(execution, order, NOW + seconds)
            asked.append((seconds, "cancel"))
    assert [what for _, what in asked] == ["change", "cancel"] * 5
    begun = [seconds for seconds, what in asked if what == "change"]
    assert begun == [3.0, 6.5, 12.75, 25.0, 49.25], "3, 6, 12, 24 s from the beginning of each"
    assert intent.cancel_since_mono == NOW + 3, "a person is told by the clock, from the first on"
    (alarm,) = [
        a for a in overdue(execution, EXIT_AT, NOW + 13).values() if a.cause == CANCEL_UNHEARD
    ]
    assert alarm.order == intent.tag


def test_without_a_witness_the_order_is_withdrawn() -> None:
    """No witness says that the leg is held."""
    execution, intent = resting()
    price_changes.note_wanted(intent, NOW + 3)
    price_changes.note_none(intent, NOW + 3)
    assert asks_for(next_steps(execution, at(3.1))) == CANCEL
    note_cancel(execution, intent, NOW + 3.1)
    assert asks_for(next_steps(execution, at(6.2))) == CHANGE, (
        "and asked again when that was no use"
    )


def test_after_its_most_changes_an_order_is_withdrawn() -> None:
    """An order is changed only as often as its broker allows."""
    execution, intent = resting()
    seconds = 3.0
    for number in range(MOST):
        steps = next_steps(execution, at(seconds))
        assert asks_for(steps) == CHANGE, number
        ask(intent, 99 + number, seconds)
        answer(intent, ACCEPTED, seconds)
        show(intent, 99 + number, seconds)
        seconds = intent.cancel_after_mono - NOW
    assert asks_for(next_steps(execution, at(seconds))) == CANCEL


def test_what_was_kept_back_is_no_change_of_the_order() -> None:
    execution, intent = resting()
    number = ask(intent, 99, 3)
    assert price_changes.note_kept(intent, number, "SUPERSEDED", ENTRY_AT)
    assert (intent.changes[0].state, intent.changes[0].cause) == (KEPT, "SUPERSEDED")
    assert intent.reach == 98
    assert not answer(intent, ACCEPTED, 4), "nothing left that could be answered"
    note_cancel(execution, intent, NOW + 3)
    assert asks_for(next_steps(execution, at(6.1, most=1))) == CHANGE


def test_an_order_that_somebody_else_resized_is_withdrawn() -> None:
    """Another quantity than ours would be sent with the change, or left at what it is."""
    execution, intent = resting(quantity=2 * LOT)
    execution.intents[0].quantity = execution.intents[0].filled_quantity = 2 * LOT
    show(intent, 98, 1, quantity=LOT)
    assert asks_for(next_steps(execution, at(3))) == CANCEL
    show(intent, 98, 4, quantity=2 * LOT)
    assert asks_for(next_steps(execution, at(4))) == CHANGE


def test_the_fourth_price_asks_for_a_person() -> None:
    """Changes and new orders count alike."""
    execution, intent = resting()
    seconds = 3.0
    causes = []
    for number in range(4):
        steps = next_steps(execution, at(seconds))
        causes.append([alarm.cause for alarm in steps.alarms])
        ask(intent, 99 + number, seconds)
        show(intent, 99 + number, seconds)
        seconds = intent.cancel_after_mono - NOW
    assert causes == [[], [], [EXIT_UNFILLED], [EXIT_UNFILLED]]


def test_an_exit_that_is_quoted_anew_is_not_resting() -> None:
    """An exit that gets new prices again and again raises no alarm for resting."""
    execution, intent = resting(due_at=EXIT_AT)
    late = EXIT_AT + dt.timedelta(seconds=PROMISES[EXIT_RESTING])
    assert [a.cause for a in overdue(execution, late, NOW).values()].count(EXIT_RESTING) == 1
    number = ask(intent, 99, 3)
    intent.changes = (replace(intent.changes[number], at=late),)
    assert EXIT_RESTING in [a.cause for a in overdue(execution, late, NOW).values()], "not yet seen"
    show(intent, 99, 4)
    assert EXIT_RESTING not in [a.cause for a in overdue(execution, late, NOW).values()]


# -- what is known -----------------------------------------------------------------------------
def test_a_refusal_is_no_proof_of_the_price() -> None:
    _, intent = resting()
    ask(intent, 99, 3)
    answer(intent, REFUSES, 4)
    assert intent.changes[0].message == "being processed"
    show(intent, 99, 5)
    assert (intent.changes[0].state, intent.price) == (DONE, Decimal(99))


def test_an_answer_about_another_order_says_nothing_of_ours() -> None:
    _, intent = resting()
    ask(intent, 99, 3)
    answer(intent, SendResult(Outcome.ACCEPTED, broker_order_id="B2"), 4)
    assert intent.changes[0].state == UNKNOWN


def test_an_answer_that_comes_after_the_book_changes_nothing() -> None:
    _, intent = resting()
    ask(intent, 99, 3)
    show(intent, 99, 4)
    assert not answer(intent, SILENT, 5)
    assert intent.changes[0].state == DONE


def test_an_older_change_applied_late_is_where_it_rests() -> None:
    _, intent = resting()
    ask(intent, 99, 3)
    answer(intent, SILENT, 4)
    ask(intent, 101, 9)
    answer(intent, ACCEPTED, 10)
    show(intent, 101, 10)
    show(intent, 99, 11)
    assert intent.price == 99
    assert [change.state for change in intent.changes] == [DONE, DONE]


@pytest.mark.parametrize("price", ["127230", None])
def test_a_price_that_nobody_asked_for_is_none_of_ours(price: str | None) -> None:
    _, intent = resting()
    ask(intent, 99, 3)
    show(intent, price, 4)
    assert (intent.changes[0].state, intent.price) == (ASKED, Decimal(98))


def test_a_fill_crosses_a_change() -> None:
    """The order is final by its fills, whatever becomes of the change; nothing more is asked."""
    execution, intent = resting()
    ask(intent, 99, 3)
    row = report(intent, BookState.FILLED, LOT, 98)
    transitions.apply_report(intent, row, at=ENTRY_AT, now_mono=NOW + 3.2)
    answer(intent, REFUSES, 3.5)
    assert (intent.state, intent.filled_quantity) == (lifecycle.FILLED, LOT)
    assert next_steps(execution, at(4)).status == "CLOSED"


def test_after_a_price_refusal_a_try_stays_inside_the_band() -> None:
    """A refusal that names the band prices the next try inside it."""
    execution, intent = resting()
    ask(intent, 120, 3)
    band = PriceBand(Decimal(80), Decimal(110))
    answer(intent, SendResult(Outcome.REFUSED, cause=Cause.PRICE_BAND, band=band), 4)
    tries = _tries(execution.intents[1:], Side.BUY, intent)
    assert (tries.last_refused, tries.allowed, tries.refused) == (True, band, [Decimal(120)])
    assert tries.rounds == 1


def test_every_price_that_rested_lets_the_next_cross_farther() -> None:
    """Changes count like orders of their own."""
    execution, intent = resting()
    for number in range(3):
        assert _tries(execution.intents[1:], Side.BUY, intent).rounds == number + 1
        ask(intent, 99 + number, 3)
        show(intent, 99 + number, 4)
    assert sorted(set(_tries(execution.intents[1:], Side.BUY, intent).unfilled)) == [
        98,
        99,
        100,
        101,
    ]
    intent.state = lifecycle.CANCELLED
    assert _tries(execution.intents[1:], Side.BUY).rounds == 4


def test_a_stored_change_on_its_way_is_unknown() -> None:
    """A restart reads the stored change; one that was on its way has no known outcome."""
    _, intent = resting()
    for price, result in ((99, ACCEPTED), (100, REFUSES), (101, None)):
        ask(intent, price, 3)
        if result is not None:
            answer(intent, result, 4)
    restored = price_changes.from_json(price_changes.to_json(intent.changes))
    assert restored[:2] == intent.changes[:2]
    assert (intent.changes[2].state, restored[2].state) == (ASKED, UNKNOWN)
    assert restored[1].state == REFUSED


# -- the gate ----------------------------------------------------------------------------------
def test_nothing_is_changed_on_an_old_grant() -> None:
    """Nor is an order changed where the leg holds less than it would close."""
    execution, intent = resting(granted_mono=NOW)
    assert why_not_change(execution, intent, NOW) == ""
    assert why_not_change(execution, intent, NOW + GRANT_SECONDS + 0.1) == "SUPERSEDED"
    other = live_intent(
        execution, purpose=lifecycle.EXIT, side=Side.BUY, state=lifecycle.UNKNOWN, sends=1
    )
    other.sent_mono = NOW
    assert why_not_change(execution, intent, NOW) == "NOT_NEEDED", (
        "both together would turn it over"
    )
    other.state = lifecycle.CANCELLED
    execution.closed_outside = {"ce": LOT}
    assert why_not_change(execution, intent, NOW) == "NOT_NEEDED"
    intent.state = lifecycle.FILLED
    assert why_not_change(execution, intent, NOW) == "STALE"


def test_an_order_stands_in_the_way_wherever_it_may_rest() -> None:
    execution = live_execution()
    buy = live_intent(execution, side=Side.BUY, state=lifecycle.ACCEPTED, price=Decimal(98))
    sell = live_intent(execution, side=Side.SELL, price=Decimal(100))
    assert not in_the_way(sell, [buy])
    ask(buy, 101, 3)
    answer(buy, SILENT, 4)
    assert in_the_way(sell, [buy]) == [buy]
    buy.changes = (replace(buy.changes[0], state=REFUSED),)
    assert not in_the_way(sell, [buy])
