"""Known situations of one execution; the random ones are in test_next_steps_stories."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from brokers.base import BookState, OrderReport, Side
from execution import lifecycle
from execution.backoff import exit_backoff
from execution.next_steps import STUCK_AFTER, next_steps
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation
from execution.tests.inmemory import ENTRY_AT, LOT, committed, live_intent
from execution.transitions import apply_report, finish
from execution.withdrawals import note_cancel
from marketplace.tests.factories import IRON_CONDOR_LEGS, leg_spec, strategy_spec

NOW = 1000.0
CE = leg_spec("SELL", "CE", key="ce")
PE = leg_spec("SELL", "PE", key="pe")
WING = leg_spec("BUY", "CE", "OTM8", key="wing")


def at(**fields: Any) -> Situation:
    values: dict[str, Any] = {"now_mono": NOW, "grace_over": False, "exit_due": False}
    return Situation(**{**values, **fields})


def fill(intent: LiveIntent, units: int = LOT) -> None:
    intent.filled_quantity = units
    intent.state = lifecycle.FILLED if units == intent.quantity else lifecycle.PARTIAL


def opened(*legs: Any, **fields: Any) -> LiveExecution:
    """An OPEN execution: everything filled."""
    execution = committed(strategy_spec(legs or (CE, PE), **fields))
    for intent in execution.intents:
        intent.sends = 1
        fill(intent, intent.quantity)
    execution.status = "OPEN"
    return execution


@pytest.mark.parametrize("status", ["ARMED", "WITHDRAWN", "CLOSED", "FAILED", "MISSED"])
def test_nothing_is_done_for_an_execution_that_is_not_under_way(status: str) -> None:
    execution = opened()
    execution.status = status
    assert not next_steps(execution, at(exit_due=True))


def test_the_second_group_waits_for_the_whole_first() -> None:
    execution = committed(strategy_spec(IRON_CONDOR_LEGS))
    hedges = [i for i in execution.intents if i.group == 0]
    assert not next_steps(execution, at())
    fill(hedges[0])
    assert not next_steps(execution, at())
    fill(hedges[1])
    steps = next_steps(execution, at())
    assert {(i.group, str(i.side)) for i in steps.send} == {(1, "SELL")}


def test_before_the_entry_second_nothing_leaves() -> None:
    execution = committed(strategy_spec([CE]))
    execution.intents[0].state = lifecycle.PLANNED
    assert not next_steps(execution, at(entry_due=False))
    assert next_steps(execution, at()).send == execution.intents


def test_when_everything_is_filled_the_execution_is_open() -> None:
    execution = opened()
    execution.status = "COMMITTED"
    assert next_steps(execution, at()).status == "OPEN"


@pytest.mark.parametrize(
    ("situation", "cause"),
    [
        ({"grace_over": True}, "GRACE_OVER"),
        ({"exit_due": True}, "EXIT_DUE"),
        ({"entries_blocked": "KILL_SWITCH"}, "KILL_SWITCH"),
    ],
)
def test_a_stopped_entry_is_missed_or_withdrawn(situation: dict[str, Any], cause: str) -> None:
    """An unsent order is missed, a resting one withdrawn."""
    execution = committed(strategy_spec([WING, CE]))
    execution.intents[0].state = lifecycle.ACCEPTED
    steps = next_steps(execution, at(**situation))
    assert steps.miss == [(execution.intents[1], cause)]
    assert steps.cancel == [execution.intents[0]]
    assert not steps.send


def test_an_unread_switch_unwound_bought_hedges() -> None:
    """Seen with a database that stood still for five seconds: a moment without a reading of the
    kill switch unwound everybody's hedges. An entry that has begun waits for the next reading."""
    execution = committed(strategy_spec([WING, CE]))
    hedge, short = execution.intents
    hedge.state, hedge.filled_quantity = lifecycle.FILLED, hedge.quantity
    assert not next_steps(execution, at(entries_blocked="CONTROL_UNREACHABLE"))
    assert next_steps(execution, at()).send == [short], "read again, it goes on"
    late = next_steps(execution, at(entries_blocked="CONTROL_UNREACHABLE", grace_over=True))
    assert late.miss == [(short, "CONTROL_UNREACHABLE")]


@pytest.mark.parametrize("cause", ["RATE_LIMIT", "BROKER_DOWN"])
def test_what_kept_an_entry_to_the_end_is_its_cause(cause: str) -> None:
    """The cause of a missed entry is what held it until the grace was over."""
    execution = committed(strategy_spec([CE]))
    execution.intents[0].state, execution.intents[0].cause = lifecycle.PLANNED, cause
    steps = next_steps(execution, at(grace_over=True))
    assert steps.miss == [(execution.intents[0], cause)]


@pytest.mark.parametrize("settled_first", [0, 1])
def test_unconnected_hedges_hid_behind_waiting_shorts(settled_first: int) -> None:
    """Seen: the grace ended while the hedge was queued for a connection. The short, which had only
    waited, was missed first, and the customer read GRACE_OVER instead of BROKER_DOWN."""
    execution = committed(strategy_spec([WING, CE]))
    hedge, short = execution.intents
    short.state = lifecycle.PLANNED
    for number in range(2):
        if number == settled_first:
            # the connection was given up: the hedge is sendable again
            hedge.state, hedge.cause = lifecycle.PLANNED, "BROKER_DOWN"
        elif number == 0:
            hedge.state = lifecycle.SENDING
        for intent, cause in next_steps(execution, at(grace_over=True)).miss:
            finish(intent, lifecycle.MISSED, ENTRY_AT, NOW)
            intent.cause = cause
    assert (hedge.cause, short.cause) == ("BROKER_DOWN", "GRACE_OVER")
    steps = next_steps(execution, at(grace_over=True))
    assert (steps.status, steps.cause) == ("MISSED", "BROKER_DOWN")


def test_a_hedge_that_rested_until_the_grace_was_over_gives_the_cause() -> None:
    """Seen: the short that had only waited for it was missed first. The customer read that their
    order came too late, and not that it was not filled."""
    execution = committed(strategy_spec([WING, CE]))
    hedge, short = execution.intents
    hedge.state, hedge.sends, hedge.sent_mono, hedge.seen_mono = lifecycle.ACCEPTED, 1, NOW, NOW
    steps = next_steps(execution, at(grace_over=True))
    assert (steps.cancel, steps.miss) == ([hedge], [(short, "GRACE_OVER")])
    short.cause = "GRACE_OVER"
    finish(short, lifecycle.MISSED, ENTRY_AT, NOW)
    note_cancel(execution, hedge, NOW)
    cancelled = OrderReport("1", hedge.tag, BookState.CANCELLED, hedge.quantity, 0, Decimal(0))
    apply_report(hedge, cancelled, at=ENTRY_AT, now_mono=NOW + 1)
    steps = next_steps(execution, at(grace_over=True))
    assert (steps.status, steps.cause) == ("FAILED", "NOT_FILLED")


def test_the_leg_that_began_it_gives_the_cause() -> None:
    """The second leg could not be connected, and the first was then not sent because of it."""
    execution = committed(strategy_spec([CE, PE], order_rule="PARALLEL"))
    first, second = execution.intents
    for intent, cause in ((first, "LEG_FAILED"), (second, "BROKER_DOWN")):
        intent.state, intent.cause, intent.sends = lifecycle.MISSED, cause, 0
    steps = next_steps(execution, at(grace_over=True))
    assert (steps.status, steps.cause) == ("MISSED", "BROKER_DOWN")


@pytest.mark.parametrize("refused", [0, 1])
def test_a_leg_withdrawn_because_another_was_refused_hid_why(refused: int) -> None:
    """Seen: the refusal came before the first leg had met the market, and the customer read that
    their order was not filled in time."""
    execution = committed(strategy_spec([CE, PE], order_rule="PARALLEL"))
    legs = execution.intents
    other = legs[1 - refused]
    legs[refused].state, legs[refused].cause = lifecycle.REJECTED, "MARGIN"
    other.state, other.sends, other.sent_mono, other.seen_mono = lifecycle.ACCEPTED, 1, NOW, NOW
    assert next_steps(execution, at()).cancel == [other]
    note_cancel(execution, other, NOW)
    cancelled = OrderReport("1", other.tag, BookState.CANCELLED, other.quantity, 0, Decimal(0))
    apply_report(other, cancelled, at=ENTRY_AT, now_mono=NOW + 1)
    assert (other.state, other.cause) == (lifecycle.CANCELLED, "LEG_FAILED")
    steps = next_steps(execution, at())
    assert (steps.status, steps.cause) == ("FAILED", "MARGIN")


def test_after_a_restart_the_refusal_is_still_the_cause() -> None:
    """A restart forgets what withdrew the other leg."""
    execution = committed(strategy_spec([CE, PE], order_rule="PARALLEL"))
    first, second = execution.intents
    first.state, first.cause, first.sends = lifecycle.CANCELLED, "CANCELLED_BY_BROKER", 1
    second.state, second.cause, second.sends = lifecycle.REJECTED, "MARGIN", 1
    assert next_steps(execution, at()).cause == "MARGIN"


def test_an_unknown_entry_is_neither_missed_nor_left() -> None:
    execution = committed(strategy_spec([CE]))
    execution.intents[0].state = lifecycle.UNKNOWN
    execution.intents[0].unknown_since_mono = NOW
    assert not next_steps(execution, at(grace_over=True, exit_due=True))


def test_beside_a_refused_leg_nothing_more_enters() -> None:
    execution = committed(strategy_spec([CE, PE], order_rule="PARALLEL"))
    refused, waiting = execution.intents
    refused.state, refused.cause = lifecycle.REJECTED, "MARGIN"
    # refused for its rate, about to be sent again
    waiting.state, waiting.sends = lifecycle.PLANNED, 1
    steps = next_steps(execution, at())
    assert not steps.send
    assert steps.miss == [(waiting, "LEG_FAILED")]


@pytest.mark.parametrize(
    ("policy", "status", "unwound"),
    [
        ("UNWIND_FILLED", "", {"wing", "ce"}),
        ("KEEP_HEDGES", "OPEN", {"ce"}),
        ("ALERT", "OPEN", set()),
    ],
)
def test_what_becomes_of_the_rest_when_a_leg_fails(
    policy: str, status: str, unwound: set[str]
) -> None:
    execution = committed(strategy_spec([WING, CE, PE], leg_failure=policy))
    wing, ce, pe = execution.intents
    fill(wing)
    fill(ce)
    ce.sends = pe.sends = 1
    pe.state, pe.cause, pe.message = lifecycle.REJECTED, "MARGIN", "RMS: margin exceeds"
    steps = next_steps(execution, at())
    assert (steps.status, steps.cause, steps.message) == (status, "MARGIN", "RMS: margin exceeds")
    alarms = [] if policy == "UNWIND_FILLED" else ["PARTLY_ENTERED"]
    assert [alarm.cause for alarm in steps.alarms] == alarms
    leaving = {order.leg_key for order in steps.exits}
    assert leaving == unwound - {"wing"}  # the hedge leaves after what it hedges
    assert {order.purpose for order in steps.exits} <= {lifecycle.UNWIND}
    ce.filled_quantity, ce.state = 0, lifecycle.CANCELLED
    execution.status = status or "COMMITTED"
    after = {order.leg_key for order in next_steps(execution, at()).exits}
    assert after == unwound - {"ce"}


def test_an_entry_without_a_fill_is_failed_or_missed() -> None:
    """A refused entry is FAILED, a missed one MISSED."""
    for state, status in ((lifecycle.REJECTED, "FAILED"), (lifecycle.MISSED, "MISSED")):
        execution = committed(strategy_spec([CE]))
        execution.intents[0].state, execution.intents[0].cause = state, "WHY"
        steps = next_steps(execution, at())
        assert (steps.status, steps.cause) == (status, "WHY")


def test_an_escalated_entry_asks_for_a_person() -> None:
    execution = committed(strategy_spec([CE]))
    entry = execution.intents[0]
    entry.state = lifecycle.ESCALATED
    (alarm,) = next_steps(execution, at()).alarms
    assert (alarm.cause, alarm.leg, alarm.order) == ("UNRESOLVED", entry.leg_key, entry.tag)


# -- leaving ------------------------------------------------------------------------------------
def test_the_exit_time_closes_shorts_first() -> None:
    execution = opened(WING, CE)
    steps = next_steps(execution, at(exit_due=True))
    assert steps.status == "EXITING"
    (order,) = steps.exits
    assert (order.leg_key, order.side, order.quantity) == ("ce", Side.BUY, LOT)
    assert (order.purpose, order.reason, order.attempt_group) == (lifecycle.EXIT, "EXIT_TIME", 0)


def test_a_stopped_leg_leaves_alone_and_the_other_stays_open() -> None:
    execution = opened()
    execution.run.leg_exits["ce"] = "STOP"
    steps = next_steps(execution, at())
    assert [(o.leg_key, o.reason) for o in steps.exits] == [("ce", "STOP")]
    assert steps.status == ""
    close(execution, "ce")
    assert not next_steps(execution, at()), "one open leg that nobody asked to leave is not EXITING"


def close(execution: LiveExecution, leg_key: str, filled: int = LOT, **fields: Any) -> LiveIntent:
    """An exit order of a leg, filled unless told otherwise."""
    values = {
        "state": lifecycle.FILLED if filled == LOT else lifecycle.CANCELLED,
        "sends": 1,
    } | fields
    return live_intent(
        execution,
        leg_key=leg_key,
        side=Side.BUY,
        purpose=lifecycle.EXIT,
        filled_quantity=filled,
        **values,
    )


def test_when_every_leg_was_stopped_the_execution_is_over() -> None:
    execution = opened()
    execution.run.leg_exits.update(ce="STOP", pe="STOP")
    for leg_key in ("ce", "pe"):
        close(execution, leg_key)
    assert next_steps(execution, at()).status == "CLOSED"


def test_an_unfilled_try_is_followed_by_another() -> None:
    """The next try waits for its back-off."""
    execution = opened(CE)
    execution.status = "EXITING"
    close(execution, "ce", 0, attempt_group=0, not_before_mono=NOW + 1)
    assert not next_steps(execution, at(exit_due=True))
    (order,) = next_steps(execution, at(exit_due=True, now_mono=NOW + 1)).exits
    assert (order.attempt_group, order.quantity) == (1, LOT)


def test_a_partly_filled_try_leaves_only_the_rest_for_the_next() -> None:
    execution = opened(CE)
    close(execution, "ce", 40)
    (order,) = next_steps(execution, at(exit_due=True)).exits
    assert order.quantity == LOT - 40


def test_the_fourth_try_asks_for_a_person() -> None:
    execution = opened(CE)
    close(execution, "ce", 0, attempt_group=2)
    (alarm,) = next_steps(execution, at(exit_due=True)).alarms
    assert alarm.key == ("EXIT_UNFILLED", "ce")


def test_a_waiting_try_is_dropped_when_another_filled() -> None:
    """An earlier try filled after all: the next would open a position, against I5 (never more than
    planned or held)."""
    execution = opened(CE)
    close(execution, "ce", 40, attempt_group=0)
    late = close(execution, "ce", 0, attempt_group=1, state=lifecycle.PLANNED)
    late.quantity = LOT
    steps = next_steps(execution, at(exit_due=True))
    assert steps.miss == [(late, "NOT_NEEDED")]
    assert not steps.send


def test_an_exit_that_never_left_was_sent_again_as_it_was() -> None:
    """The executor died before the byte, the customer closed the leg by hand: +65, +65 reverse."""
    execution = opened(CE)
    unsent = close(execution, "ce", 0, state=lifecycle.PLANNED)
    steps = next_steps(execution, at(exit_due=True))
    assert steps.miss == [(unsent, "SUPERSEDED")]
    assert not steps.send
    assert not steps.exits
    unsent.state = lifecycle.MISSED
    (order,) = next_steps(execution, at(exit_due=True)).exits
    assert (order.attempt_group, order.quantity) == (1, LOT), "a new one, with fresh facts"


def test_a_position_turned_over_is_closed_the_other_way() -> None:
    """A late fill turned the position over."""
    execution = opened(CE)
    close(execution, "ce", LOT, attempt_group=0)
    close(execution, "ce", 25, attempt_group=1)
    (order,) = next_steps(execution, at(exit_due=True)).exits
    assert (order.side, order.quantity) == (Side.SELL, 25)


def test_a_resting_exit_is_withdrawn_in_time() -> None:
    """The exit is withdrawn when its time is up, and again if that cancel was lost."""
    execution = opened(CE)
    resting = close(execution, "ce", 0, state=lifecycle.ACCEPTED, cancel_after_mono=NOW)
    assert next_steps(execution, at(exit_due=True)).cancel == [resting]
    resting.cancel_sent_mono = NOW
    assert not next_steps(execution, at(exit_due=True, now_mono=NOW + 2)).cancel
    assert next_steps(execution, at(exit_due=True, now_mono=NOW + 4)).cancel == [resting]


def test_an_exit_unknown_for_two_minutes_is_not_sent_again() -> None:
    """That it waits for so long is told by the clock (execution.overdue)."""
    execution = opened(CE)
    close(execution, "ce", 0, state=lifecycle.UNKNOWN, unknown_since_mono=NOW)
    stuck = next_steps(execution, at(exit_due=True, now_mono=NOW + STUCK_AFTER))
    assert not stuck.exits


def test_flat_is_not_over_while_an_exit_may_still_fill() -> None:
    execution = opened(CE)
    execution.closed_outside["ce"] = LOT
    close(execution, "ce", 0, state=lifecycle.UNKNOWN, unknown_since_mono=NOW)
    assert next_steps(execution, at(exit_due=True)).status != "CLOSED"


def test_what_somebody_else_closed_is_not_closed_again() -> None:
    execution = opened(CE)
    execution.closed_outside["ce"] = LOT
    steps = next_steps(execution, at(exit_due=True))
    assert (steps.status, steps.exits) == ("CLOSED", [])


def test_back_off_of_exits_grows_and_never_ends() -> None:
    waits = [exit_backoff(attempt) for attempt in range(8)]
    assert waits == sorted(waits)
    assert waits[-1] == 5.0


# -- the close ----------------------------------------------------------------------------------
def test_what_is_open_after_the_close_is_named() -> None:
    """No exit is sent after the close. Seen: 26 orders were refused in 62 seconds without an
    alarm."""
    execution = opened(WING, CE)
    assert next_steps(execution, at(exit_due=True)).exits, "the control: a second before it"
    steps = next_steps(execution, at(exit_due=True, session_over=True))
    assert (steps.exits, steps.send, steps.cancel) == ([], [], [])
    assert [alarm.key for alarm in steps.alarms] == [("SESSION_OVER", "")]


def test_an_earlier_alarm_does_not_hide_the_close() -> None:
    """The close raises an alarm of its own."""
    execution = opened(CE)
    execution.alarms, execution.cause = {("PRICE_BAND", "ce")}, "PRICE_BAND"
    steps = next_steps(execution, at(exit_due=True, session_over=True))
    assert ("SESSION_OVER", "") in {alarm.key for alarm in steps.alarms}


def test_a_waiting_exit_is_not_sent_after_the_close() -> None:
    """The exit waited for its next send when the market closed."""
    execution = opened(CE)
    waiting = close(execution, "ce", 0, state=lifecycle.PLANNED)
    assert next_steps(execution, at(exit_due=True)).miss == [(waiting, "SUPERSEDED")], "the control"
    steps = next_steps(execution, at(exit_due=True, session_over=True))
    assert (steps.miss, steps.send) == ([(waiting, "SESSION_OVER")], [])


def test_a_position_without_an_exit_is_named_at_the_close() -> None:
    """No exit was ever requested for the position."""
    execution = opened(CE)
    assert not next_steps(execution, at())
    assert [alarm.cause for alarm in next_steps(execution, at(session_over=True)).alarms] == [
        "SESSION_OVER"
    ]


def test_what_is_flat_at_the_close_is_over_as_ever() -> None:
    execution = opened(CE)
    close(execution, "ce")
    steps = next_steps(execution, at(exit_due=True, session_over=True))
    assert (steps.status, steps.alarms) == ("CLOSED", [])


def test_no_entry_is_sent_after_the_close() -> None:
    execution = committed(strategy_spec([CE]))
    execution.intents[0].state = lifecycle.PLANNED
    steps = next_steps(execution, at(session_over=True))
    assert (steps.send, steps.miss) == ([], [(execution.intents[0], "SESSION_OVER")])
