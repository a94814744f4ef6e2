"""Two orders where one was meant: which one counts, what is closed, and that it is closed once."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import BookState, OrderReport, Side
from execution import duplicates, lifecycle, transitions
from execution.alarms import Alarm
from execution.exit_limits import Grant, Witnesses, share
from execution.next_steps import next_steps
from execution.send_gate import why_not_leave
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder, Situation, Steps
from execution.tags import MAX_SENDS
from execution.tests.inmemory import ENTRY_AT, LOT, committed, live_intent
from execution.unreported import SILENT_AFTER, lost_units
from execution.witnesses import tracked_leg
from marketplace.tests.factories import leg_spec, strategy_spec

NOW = 1000.0
CE = leg_spec("SELL", "CE", key="ce")
PE = leg_spec("SELL", "PE", key="pe")
WING = leg_spec("BUY", "CE", "OTM8", key="wing")


def order(number: str, state: BookState = BookState.FILLED, filled: int = LOT) -> OrderReport:
    return OrderReport(number, "", state, LOT, filled, Decimal(100), side=Side.SELL)


def at(**fields: Any) -> Situation:
    return Situation(**{"now_mono": NOW, "grace_over": True, "exit_due": False, **fields})


def opened(*legs: Any) -> LiveExecution:
    execution = committed(strategy_spec(legs or (CE, PE)))
    for number, intent in enumerate(execution.intents):
        intent.sends, intent.broker_order_id = 1, f"B{number}"
        intent.filled_quantity, intent.state = intent.quantity, lifecycle.FILLED
        intent.average_price = Decimal(100)
    execution.status = "OPEN"
    return execution


def read(intent: LiveIntent, *orders: tuple[int, OrderReport]) -> None:
    """The book as it is now, as the poller takes it over."""
    matches = duplicates.find(intent, orders)
    if matches.own is not None:
        transitions.apply_report(intent, matches.own, at=ENTRY_AT, now_mono=NOW)
        duplicates.note(intent, matches)


def carry_out(execution: LiveExecution, exit_order: ExitOrder) -> LiveIntent:
    """The order of a step, filled."""
    return live_intent(
        execution,
        leg_key=exit_order.leg_key,
        side=exit_order.side,
        quantity=exit_order.quantity,
        purpose=exit_order.purpose,
        reason=exit_order.reason,
        attempt_group=exit_order.attempt_group,
        state=lifecycle.FILLED,
        sends=1,
        filled_quantity=exit_order.quantity,
        average_price=Decimal(101),
    )


REFUSED = BookState.REJECTED
OPEN = BookState.OPEN


@pytest.mark.parametrize(
    ("known", "rows", "own", "others"),
    [
        pytest.param("", [(1, order("A"))], "A", [], id="the_only_one"),
        pytest.param("B", [(1, order("A")), (2, order("B"))], "B", ["A"], id="known_by_its_id"),
        pytest.param("", [(1, order("A")), (2, order("B"))], "B", ["A"], id="newest"),
        pytest.param("A", [(1, order("A")), (1, order("B"))], "A", ["B"], id="one_tag_twice"),
        pytest.param(
            "B", [(1, order("A")), (2, order("B", REFUSED, 0))], "A", [], id="alive_beats_refused"
        ),
        pytest.param(
            "B", [(1, order("A")), (2, order("B", OPEN, 0))], "A", ["B"], id="filled_beats_resting"
        ),
        pytest.param(
            "B",
            [(1, order("A", OPEN, 20)), (2, order("B", OPEN, 30))],
            "B",
            ["A"],
            id="more_beats_less",
        ),
        pytest.param(
            "",
            [(1, order("A", REFUSED, 0)), (2, order("B", REFUSED, 0))],
            "B",
            [],
            id="newest_refusal",
        ),
        pytest.param("", [(1, order("A", REFUSED, 0))], None, [], id="an_old_refusal_says_nothing"),
    ],
)
def test_which_order_of_an_intent_is_its_own(
    known: str, rows: list[tuple[int, OrderReport]], own: str | None, others: list[str]
) -> None:
    intent = live_intent(state=lifecycle.UNKNOWN, sends=2, broker_order_id=known)
    matches = duplicates.find(intent, rows)
    assert (matches.own.broker_order_id if matches.own else None) == own
    assert [other.broker_order_id for other in matches.others] == others


def test_a_duplicate_that_was_never_closed_is_closed_once() -> None:
    """Seen: an order accepted with a 504 was hidden for 14 s; 24 flagged duplicates stayed open."""
    execution = opened()
    short = execution.intents[0]
    both = [(1, order("A")), (2, order("B0"))]
    short.sends = 2
    read(short, *both)
    assert execution.open_legs() == {"ce": -2 * LOT, "pe": -LOT}
    steps = next_steps(execution, at())
    assert steps.exits == [ExitOrder("ce", Side.BUY, LOT, lifecycle.UNWIND, 0, "DUPLICATE")]
    assert steps.alarms == [Alarm("DUPLICATE", "ce")]
    assert steps.status == ""
    carry_out(execution, steps.exits[0])
    for _ in range(2):  # and again: after a restart the book shows both, as before
        read(short, *both)
        assert execution.open_legs() == {"ce": -LOT, "pe": -LOT}
        assert not next_steps(execution, at())
    leaving = next_steps(execution, at(exit_due=True)).exits
    assert [(exit_order.leg_key, exit_order.quantity) for exit_order in leaving] == [
        ("ce", LOT),
        ("pe", LOT),
    ]


def test_what_a_duplicate_filled_counts_as_profit_and_loss() -> None:
    execution = opened(CE)
    read(execution.intents[0], (1, order("B0")), (1, dataclasses.replace(order("A"))))
    for exit_order in next_steps(execution, at()).exits:
        carry_out(execution, exit_order)
    for exit_order in next_steps(execution, at(exit_due=True)).exits:
        carry_out(execution, exit_order)
    assert execution.realised_pnl() == Decimal(-2 * LOT)


def test_the_exit_of_a_leg_takes_its_surplus_along() -> None:
    execution = opened(CE)
    read(execution.intents[0], (1, order("B0")), (1, order("A")))
    (exit_order,) = next_steps(execution, at(exit_due=True)).exits
    assert (exit_order.quantity, exit_order.reason) == (2 * LOT, "EXIT_TIME")
    carry_out(execution, exit_order)
    assert duplicates.surplus(execution) == {}
    assert next_steps(execution, at(exit_due=True)).exits == []


def test_a_late_exit_opened_a_reverse_position() -> None:
    """Bug: an exit that was given up had filled. It turned up after its successor, so that one leg
    was closed twice."""
    execution = opened(CE)
    (first,) = next_steps(execution, at(exit_due=True)).exits
    given_up = carry_out(execution, first)
    given_up.filled_quantity, given_up.state, given_up.cause = 0, lifecycle.MISSED, "BROKER_DOWN"
    (second,) = next_steps(execution, at(exit_due=True)).exits
    carry_out(execution, second)
    read(given_up, (1, dataclasses.replace(order("X1"), side=Side.BUY)))
    assert execution.open_legs() == {"ce": LOT}
    steps = next_steps(execution, at(exit_due=True))
    assert steps.exits == [ExitOrder("ce", Side.SELL, LOT, lifecycle.UNWIND, 2, "DUPLICATE")]
    assert steps.alarms == [Alarm("DUPLICATE", "ce")]
    carry_out(execution, steps.exits[0])
    assert next_steps(execution, at(exit_due=True)).status == "CLOSED"


def test_surplus_is_closed_while_other_legs_are_still_entering() -> None:
    execution = opened(WING, CE)
    wing, short = execution.intents
    execution.status = "COMMITTED"
    short.state, short.filled_quantity = lifecycle.UNKNOWN, 0
    read(wing, (1, order("B0")), (1, order("A")))
    (exit_order,) = next_steps(execution, at(grace_over=False)).exits
    assert (exit_order.leg_key, exit_order.side, exit_order.quantity) == ("wing", Side.SELL, LOT)


def test_sold_surplus_leaves_before_bought_surplus() -> None:
    execution = opened(WING, CE)
    for intent in execution.intents:
        read(intent, (1, order(intent.broker_order_id)), (1, order(f"A{intent.leg_key}")))
    steps: Steps = next_steps(execution, at())
    assert [exit_order.leg_key for exit_order in steps.exits] == ["ce"]
    carry_out(execution, steps.exits[0])
    assert [exit_order.leg_key for exit_order in next_steps(execution, at()).exits] == ["wing"]


def test_resting_surplus_keeps_the_execution_from_ending() -> None:
    """A surplus order that rests may still fill: the execution ends when it is cancelled."""
    execution = opened(CE)
    read(execution.intents[0], (1, order("B0")), (1, order("A", OPEN, 0)))
    assert execution.intents[0].strays == ("A",)
    carry_out(execution, next_steps(execution, at(exit_due=True)).exits[0])
    assert next_steps(execution, at(exit_due=True)).status != "CLOSED"
    read(execution.intents[0], (1, order("B0")), (1, order("A", BookState.CANCELLED, 0)))
    assert next_steps(execution, at(exit_due=True)).status == "CLOSED"


def test_an_order_that_was_given_up_and_rests_is_a_stray() -> None:
    intent = live_intent(state=lifecycle.MISSED, sends=1, cause="BROKER_DOWN")
    read(intent, (1, order("A", OPEN, 0)))
    assert (intent.state, intent.strays) == (lifecycle.MISSED, ("A",))


def test_beside_a_given_up_exit_that_rests_another_was_sent() -> None:
    """Seen (stories 19406, 20595): an exit that was given up turned up, both exits filled, and the
    leg was turned over."""
    execution = opened(CE)
    closing = live_intent(execution, leg_key="ce", side=Side.BUY, purpose=lifecycle.EXIT)
    closing.sends, closing.filled_quantity = MAX_SENDS, 0
    absent(closing)
    later = at(now_mono=NOW + 15, exit_due=True)
    (again,) = next_steps(execution, later).exits
    read(closing, (MAX_SENDS, order("A", OPEN, 5)))
    assert (closing.state, closing.adrift, closing.unreported) == (
        lifecycle.MISSED,
        LOT - 5,
        LOT - 5,
    )
    assert not next_steps(execution, later).exits, "it may still fill"
    second = live_intent(execution, leg_key="ce", side=Side.BUY, purpose=lifecycle.EXIT)
    second.state, second.granted_mono, second.quantity = (
        lifecycle.SENDING,
        NOW + 15,
        again.quantity - 5,
    )
    assert why_not_leave(execution, second, NOW + 15) == "NOT_NEEDED", "nor does what is queued"
    execution.intents.remove(second)
    read(closing, (MAX_SENDS, order("A", BookState.CANCELLED, 5)))
    assert closing.adrift == 0
    (left,) = next_steps(execution, later).exits
    assert left.quantity == LOT - 5


@pytest.mark.parametrize("ends", [BookState.REJECTED, BookState.CANCELLED], ids=str)
def test_an_order_rejected_late_kept_its_execution_open(
    ends: BookState,
) -> None:
    """Seen (story 6865): the first send turned up after the second was given up, rested, and was
    rejected. What the book said of it then was not taken over: it rested for ever in our eyes."""
    execution = opened(CE)
    execution.status = "COMMITTED"
    (intent,) = execution.intents
    intent.sends, intent.state, intent.filled_quantity = 2, lifecycle.MISSED, 0
    intent.broker_order_id, intent.cause = "", "LEG_FAILED"
    read(intent, (1, order("A", OPEN, 0)))
    assert not next_steps(execution, at()).status, "it may still fill"
    read(intent, (1, order("A", ends, 0)))
    assert (intent.state, intent.strays) == (lifecycle.MISSED, ())
    assert next_steps(execution, at()).status == "MISSED"


def test_fills_of_a_duplicate_never_become_fewer() -> None:
    intent = live_intent(state=lifecycle.FILLED, sends=1, filled_quantity=LOT, broker_order_id="B")
    read(intent, (1, order("B")), (1, order("A")))
    read(intent, (1, order("B")))
    assert intent.surplus_quantity == LOT


# -- looked for after its absence was proven -----------------------------------------------------
def absent(intent: LiveIntent, visibility: float = 10.0) -> None:
    intent.state, intent.unknown_since_mono = lifecycle.UNKNOWN, NOW
    for seconds in (0.0, 5.0, visibility):
        transitions.apply_absence(
            intent,
            read_started_mono=NOW + seconds,
            visibility_delay=visibility,
            at=ENTRY_AT,
            now_mono=NOW + seconds,
            jitter=0.0,
        )


def test_an_entry_given_up_had_filled_and_its_book_died() -> None:
    """Seen (story 16372): the positions showed 65, the book was never read again, and nobody left.
    What is out of sight is asked of the positions, like any order of which the book is silent."""
    execution = opened(CE)
    (entry,) = execution.intents
    entry.filled_quantity, entry.sends = 0, MAX_SENDS
    absent(entry)
    assert (entry.state, entry.watch_until_mono) == (lifecycle.MISSED, NOW + 40)
    assert not duplicates.lose_sight(entry, NOW + 40 + SILENT_AFTER - 0.1), "a book may be slow"
    assert not next_steps(execution, at(now_mono=NOW + 60, exit_due=True)).exits
    assert duplicates.lose_sight(entry, NOW + 60)
    assert not duplicates.lose_sight(entry, NOW + 61), "no news"
    steps = next_steps(execution, at(now_mono=NOW + 61, exit_due=True))
    (exit_order,) = steps.exits
    assert (exit_order.quantity, exit_order.perhaps, exit_order.side) == (0, LOT, Side.BUY)
    assert [alarm.cause for alarm in steps.alarms] == ["UNRESOLVED"]
    settled = Witnesses(-LOT, None, settled=True)
    assert share([tracked_leg(0, execution, "ce", NOW)], settled) == {0: Grant(LOT)}
    carry_out(execution, dataclasses.replace(exit_order, quantity=LOT))
    assert execution.open_legs() == {}
    assert not next_steps(execution, at(now_mono=NOW + 62, exit_due=True)).exits, "once"
    assert duplicates.looked(entry, NOW + 70), "the book is there again, and shows it"
    read(entry, (1, order("A")))
    assert (entry.state, execution.open_legs()) == (lifecycle.FILLED, {})
    assert next_steps(execution, at(now_mono=NOW + 70, exit_due=True)).status == "CLOSED"


def test_the_positions_may_clear_an_entry_out_of_sight() -> None:
    """Settled positions of 0 make an exit needless, but the execution is not over: the entry may
    still turn up."""
    execution = opened(CE)
    (entry,) = execution.intents
    entry.filled_quantity, entry.sends = 0, MAX_SENDS
    absent(entry)
    assert duplicates.lose_sight(entry, NOW + 60)
    nothing = share([tracked_leg(0, execution, "ce", NOW)], Witnesses(0, None, settled=True))
    assert nothing == {0: Grant(0, cleared=True)}
    execution.cleared.add("ce")
    steps = next_steps(execution, at(now_mono=NOW + 61, exit_due=True))
    assert not steps.exits, "asked no more"
    assert not steps.status, "but not over: it may turn up all the same"


def test_an_exit_out_of_sight_keeps_no_other_exit_back() -> None:
    """Another exit of the same leg is granted if the positions show that it is open."""
    execution = opened(CE)
    closing = live_intent(execution, leg_key="ce", side=Side.BUY, purpose=lifecycle.EXIT)
    closing.sends = MAX_SENDS
    absent(closing)
    assert closing.state == lifecycle.MISSED
    assert not duplicates.lose_sight(closing, NOW + 60)
    assert share([tracked_leg(0, execution, "ce", NOW)], Witnesses(-LOT, None)) == {0: Grant(LOT)}


def test_what_a_given_up_exit_may_have_closed_is_remembered() -> None:
    """An exit's missing units count until its watch ends with a look at the book; without one,
    ``SILENT_AFTER`` seconds longer (story 18387)."""
    execution = opened(CE)
    closing = live_intent(execution, leg_key="ce", side=Side.BUY, purpose=lifecycle.EXIT)
    closing.sends = 1
    assert lost_units(closing, NOW) == 0
    absent(closing)
    closing.filled_quantity = 5
    end = closing.watch_until_mono + SILENT_AFTER
    assert [lost_units(closing, when) for when in (NOW + 10, end - 0.1, end)] == [
        LOT - 5,
        LOT - 5,
        0,
    ]
    assert tracked_leg(0, execution, "ce", NOW + 10).lost_buying == LOT - 5
    assert duplicates.looked(closing, closing.watch_until_mono)
    assert lost_units(closing, NOW + 10) == 0, "the book has said that it is not there"


def test_the_first_send_of_an_entry_may_have_filled_unseen() -> None:
    """An entry that was sent again counts the units of its first send until they are found."""
    execution = opened(CE)
    (entry,) = execution.intents
    entry.filled_quantity, entry.sends = 0, 1
    absent(entry)
    assert (entry.state, lost_units(entry, NOW + 10)) == (lifecycle.PLANNED, -LOT)
    entry.state, entry.sends = lifecycle.ACCEPTED, 2
    assert (lost_units(entry, NOW + 10), entry.unreported) == (-LOT, -LOT)
    entry.surplus_quantity = LOT
    assert lost_units(entry, NOW + 10) == 0, "found"


def test_a_hidden_first_send_left_naked_shorts() -> None:
    """Seen: the first send had taken the margin, the second was refused, and the execution was
    FAILED without an alarm, −65 and −65 open."""
    execution = opened()
    execution.status = "COMMITTED"
    call = execution.intents[0]
    call.filled_quantity = 0
    absent(call)
    assert call.state == lifecycle.PLANNED
    call.sends = 2
    call.cause = "MARGIN"
    transitions.finish(call, lifecycle.REJECTED, ENTRY_AT, NOW + 11)
    steps = next_steps(execution, at(now_mono=NOW + 11))
    assert [(exit_order.leg_key, exit_order.reason) for exit_order in steps.exits] == [
        ("pe", "UNWIND")
    ]
    carry_out(execution, steps.exits[0])
    assert not next_steps(execution, at(now_mono=NOW + 12)), "not over: it may turn up"
    read(call, (1, order("A")), (2, order("B", REFUSED, 0)))
    steps = next_steps(execution, at(now_mono=NOW + 14))
    assert [(o.leg_key, o.side, o.quantity) for o in steps.exits] == [("ce", Side.BUY, LOT)]
    carry_out(execution, steps.exits[0])
    duplicates.looked(call, NOW + 60)
    ended = next_steps(execution, at(now_mono=NOW + 60))
    assert (ended.status, execution.open_legs()) == ("FAILED", {})


def test_a_single_leg_that_turns_up_late_is_the_position() -> None:
    """The execution is not over while its only leg may turn up, and is OPEN when it does."""
    execution = opened(CE)
    execution.status = "COMMITTED"
    (only,) = execution.intents
    only.filled_quantity = 0
    absent(only)
    transitions.finish(only, lifecycle.MISSED, ENTRY_AT, NOW + 11)
    assert not next_steps(execution, at(now_mono=NOW + 12))
    read(only, (1, order("A")))
    assert next_steps(execution, at(now_mono=NOW + 14)).status == "OPEN"


@pytest.mark.parametrize(("after", "status"), [(39.0, ""), (41.0, "MISSED")])
def test_it_is_looked_for_during_three_visibility_delays(after: float, status: str) -> None:
    execution = opened(CE)
    execution.status = "COMMITTED"
    (only,) = execution.intents
    only.filled_quantity, only.state = 0, lifecycle.UNKNOWN
    absent(only)
    transitions.finish(only, lifecycle.MISSED, ENTRY_AT, NOW + 11)
    duplicates.looked(only, NOW + after)
    assert next_steps(execution, at(now_mono=NOW + after)).status == status


def test_at_the_close_nobody_is_waited_for_any_more() -> None:
    execution = opened(CE)
    execution.status = "COMMITTED"
    (only,) = execution.intents
    only.filled_quantity = 0
    absent(only)
    transitions.finish(only, lifecycle.MISSED, ENTRY_AT, NOW + 11)
    assert next_steps(execution, at(now_mono=NOW + 12, session_over=True)).status == "MISSED"


@pytest.mark.parametrize(
    ("fields", "watched"),
    [
        pytest.param({"state": lifecycle.FILLED, "sends": 1}, False, id="sent_once"),
        pytest.param({"state": lifecycle.FILLED, "sends": 2}, True, id="sent_again"),
        pytest.param({"state": lifecycle.UNKNOWN, "sends": 1}, True, id="unfinished"),
        pytest.param(
            {"state": lifecycle.MISSED, "sends": 1, "cause": "BROKER_DOWN"}, True, id="given_up"
        ),
        pytest.param(
            # found by story 1362: nobody looked for it after a restart
            {"state": lifecycle.MISSED, "sends": 1, "cause": "EXIT_DUE"},
            True,
            id="given_up_and_then_withdrawn",
        ),
        pytest.param(
            {"state": lifecycle.MISSED, "sends": 0, "cause": "BROKER_DOWN"}, False, id="never_sent"
        ),
        pytest.param(
            {"state": lifecycle.REJECTED, "sends": 1, "cause": "MARGIN"}, False, id="refused"
        ),
    ],
)
def test_whom_a_restarted_process_watches(fields: dict[str, Any], watched: bool) -> None:
    intent = live_intent(**fields)
    duplicates.watch_again(intent, 10.0, NOW)
    duplicates.looked(intent, NOW + 29)
    assert duplicates.is_watched(intent) is watched
    assert duplicates.looked(intent, NOW + 31) is watched
    assert not duplicates.is_watched(intent)


def test_a_book_that_failed_left_a_late_order_to_nobody() -> None:
    """Bug: a watch ended while the book failed. Only a read that begins after the watch's end may
    end it."""
    intent = live_intent(state=lifecycle.MISSED, sends=1, cause="BROKER_DOWN")
    execution = opened(CE)
    execution.intents = [intent]
    duplicates.watch(intent, 10.0, NOW)
    assert not duplicates.looked(intent, NOW + 20), "a read before its end proves nothing"
    assert duplicates.may_appear(execution), "whatever time it is: nobody has looked since"
    assert duplicates.looked(intent, NOW + 3600)
    assert not duplicates.may_appear(execution)


def test_a_refused_older_send_left_its_intent_accepted() -> None:
    """Found by a story: the second send never arrived, and the first ended after it had spoken."""
    from brokers.base import BookState
    from execution.duplicates import find
    from execution.tests.inmemory import live_intent, report

    intent = live_intent(state=lifecycle.ACCEPTED, sends=2, broker_order_id="B1")
    refused = report(intent, BookState.REJECTED)
    assert find(intent, [(1, refused)]).own is refused
    intent.state = lifecycle.UNKNOWN
    assert find(intent, [(1, refused)]).own is None, "the control: a second send is under way"
