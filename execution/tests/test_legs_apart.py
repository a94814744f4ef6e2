"""Every leg has a state of its own: no sibling that rests or is unknown keeps a filled one here."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.base import BookState, Side
from execution import lifecycle, transitions
from execution.absence_proof import AbsenceProof
from execution.backoff import CANCEL_AGAIN_MAX, cancel_backoff
from execution.next_steps import next_steps
from execution.send_gate import why_not_enter
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation
from execution.tests.inmemory import ENTRY_AT, LOT, committed, live_intent, report
from execution.unreported import SILENT_AFTER
from execution.withdrawals import CANCEL_PATIENCE, note_cancel
from marketplace.tests.factories import IRON_CONDOR_LEGS, leg_spec, strategy_spec

NOW = 1000.0
CE = leg_spec("SELL", "CE", key="ce")
PE = leg_spec("SELL", "PE", key="pe")
WING = leg_spec("BUY", "CE", "OTM8", key="wing")


def at(seconds: float = 0.0, **fields: Any) -> Situation:
    values: dict[str, Any] = {"now_mono": NOW + seconds, "grace_over": False, "exit_due": False}
    return Situation(**{**values, **fields})


def straddle(
    ce: str = lifecycle.FILLED, pe: str = lifecycle.ACCEPTED, **fields: Any
) -> LiveExecution:
    """A short straddle whose call is filled and whose put is in another state."""
    execution = committed(strategy_spec([CE, PE], order_rule="PARALLEL", **fields))
    for intent, state in zip(execution.intents, (ce, pe), strict=True):
        intent.state, intent.sends, intent.sent_mono, intent.seen_mono = state, 1, NOW, NOW
        intent.filled_quantity = intent.quantity if state == lifecycle.FILLED else 0
        intent.unknown_since_mono = NOW if state == lifecycle.UNKNOWN else 0.0
        intent.sends = 0 if state == lifecycle.PLANNED else 1
    return execution


def ask_to_withdraw(execution: LiveExecution, intent: LiveIntent, seconds: float) -> None:
    note_cancel(execution, intent, NOW + seconds)


def leaving(execution: LiveExecution, situation: Situation) -> dict[str, str]:
    return {order.leg_key: order.reason for order in next_steps(execution, situation).exits}


# -- what is filled leaves -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "state", [lifecycle.ACCEPTED, lifecycle.PARTIAL, lifecycle.UNKNOWN, lifecycle.SENDING]
)
@pytest.mark.parametrize("what", ["stop", "target", "exit time", "EXIT_NOW", "run exit"])
def test_a_filled_leg_had_no_exit_beside_a_resting_sibling(state: str, what: str) -> None:
    """Seen: a sibling UNKNOWN for 100 s; no stop, no exit time, no EXIT_NOW for the filled leg."""
    execution = straddle(pe=state)
    assert not next_steps(execution, at(1)).exits, "the control: nobody has asked"
    situation, reason = at(1), what.upper()
    if what in ("stop", "target"):
        execution.run.leg_exits["ce"] = reason
    elif what == "exit time":
        situation, reason = at(1, exit_due=True, grace_over=True), "EXIT_TIME"
    elif what == "EXIT_NOW":
        execution.exit_reason = reason
    else:
        execution.run.run_exit = reason = "STOP"
    assert leaving(execution, situation) == {"ce": reason}


@pytest.mark.parametrize(("resting_side", "staying"), [("BUY", 0), ("SELL", 1)])
def test_a_refused_cancel_kept_three_filled_legs_open(resting_side: str, staying: int) -> None:
    """Seen: three legs never left beside an order that rested and whose cancel was refused. What
    stays is the hedge of a short that may still be sold."""
    execution = committed(strategy_spec(IRON_CONDOR_LEGS, order_rule="PARALLEL"))
    resting = next(i for i in execution.intents if i.side == resting_side)
    for intent in execution.intents:
        intent.state, intent.filled_quantity, intent.sends = lifecycle.FILLED, intent.quantity, 1
    resting.state, resting.filled_quantity = lifecycle.ACCEPTED, 0
    left = set()
    for second in range(1, 40):
        resting.seen_mono = NOW + second
        steps = next_steps(execution, at(second, grace_over=True, exit_due=True))
        for intent in steps.cancel:
            ask_to_withdraw(execution, intent, second)
        for order in steps.exits:
            left.add(order.leg_key)
            exit_filled(execution, order.leg_key, order.side, order.quantity)
        assert not steps.status, "it is not over while the order rests"
    assert resting.cancels == 4
    assert len(left) == 3 - staying
    assert resting.leg_key not in left


def exit_filled(execution: LiveExecution, leg_key: str, side: Side, units: int) -> LiveIntent:
    return live_intent(
        execution,
        leg_key=leg_key,
        side=side,
        quantity=units,
        filled_quantity=units,
        purpose=lifecycle.EXIT,
        state=lifecycle.FILLED,
        sends=1,
    )


def test_a_failed_leg_unwinds_beside_an_unknown_one() -> None:
    execution = committed(strategy_spec([WING, CE, PE], order_rule="PARALLEL"))
    wing, ce, pe = execution.intents
    for intent in (wing, ce):
        intent.state, intent.filled_quantity, intent.sends = lifecycle.FILLED, LOT, 1
    pe.state, pe.cause, pe.sends = lifecycle.REJECTED, "MARGIN", 1
    ce.state, ce.filled_quantity, ce.unknown_since_mono = lifecycle.UNKNOWN, 0, NOW
    assert leaving(execution, at(1)) == {}, "the unknown one may be sold: its hedge stays"
    ce.side = Side.BUY
    assert leaving(execution, at(1)) == {"wing": "UNWIND"}, "the control"


def test_a_hedge_stays_while_the_short_that_it_hedges_is_unknown() -> None:
    execution = committed(strategy_spec([WING, CE]))
    wing, ce = execution.intents
    wing.state, wing.filled_quantity = lifecycle.FILLED, LOT
    ce.state, ce.sends, ce.unknown_since_mono = lifecycle.UNKNOWN, 1, NOW
    assert leaving(execution, at(1, exit_due=True)) == {}
    ce.state, ce.cause = lifecycle.REJECTED, "MARGIN"
    assert leaving(execution, at(1, exit_due=True)) == {"wing": "EXIT_TIME"}


def test_what_an_unknown_entry_filled_later_is_closed() -> None:
    execution = straddle(pe=lifecycle.UNKNOWN)
    execution.exit_reason = "EXIT_NOW"
    assert leaving(execution, at(1)) == {"ce": "EXIT_NOW"}
    exit_filled(execution, "ce", Side.BUY, LOT)
    put = execution.intents[1]
    transitions.apply_report(put, report(put, BookState.FILLED, LOT), at=ENTRY_AT, now_mono=NOW + 2)
    assert leaving(execution, at(2)) == {"pe": "EXIT_NOW"}
    exit_filled(execution, "pe", Side.BUY, LOT)
    steps = [next_steps(execution, at(3))]
    execution.status = steps[0].status
    assert execution.status in ("OPEN", "CLOSED")


# -- the same leg ----------------------------------------------------------------------------------
def sliced() -> LiveExecution:
    """Two slices of one leg: one filled, one resting."""
    execution = committed(strategy_spec([CE]), multiplier=2, max_lots=1)
    filled, resting = execution.intents
    filled.state, filled.filled_quantity, filled.sends = lifecycle.FILLED, LOT, 1
    resting.state, resting.sends, resting.sent_mono, resting.seen_mono = (
        lifecycle.ACCEPTED,
        1,
        NOW,
        NOW,
    )
    return execution


def test_the_rest_of_the_same_leg_is_withdrawn_first() -> None:
    """The exit waits only a moment for the withdrawal."""
    execution = sliced()
    execution.run.leg_exits["ce"] = "STOP"
    steps = next_steps(execution, at(1))
    assert (steps.cancel, steps.exits) == ([execution.intents[1]], [])
    ask_to_withdraw(execution, execution.intents[1], 1)
    assert leaving(execution, at(1 + CANCEL_PATIENCE / 2)) == {}, "they would trade with each other"
    assert leaving(execution, at(1 + CANCEL_PATIENCE)) == {"ce": "STOP"}


def test_an_unknown_slice_of_the_same_leg_keeps_nothing_here() -> None:
    execution = sliced()
    execution.intents[1].state = lifecycle.UNKNOWN
    execution.intents[1].unknown_since_mono = NOW
    execution.run.leg_exits["ce"] = "STOP"
    (order,) = next_steps(execution, at(1)).exits
    assert (order.quantity, order.perhaps) == (LOT, 0)


# -- entries of a leg whose exit is decided --------------------------------------------------------
def test_a_planned_entry_was_sent_after_its_shorts_stop() -> None:
    """Seen: the stop had been decided, and the short was sold all the same."""
    execution = committed(strategy_spec([WING, CE]))
    wing, ce = execution.intents
    wing.state, wing.filled_quantity, wing.sends = lifecycle.FILLED, LOT, 1
    assert next_steps(execution, at()).send == [ce], "the control"
    execution.run.leg_exits["ce"] = "STOP"
    steps = next_steps(execution, at())
    assert (steps.send, steps.miss) == ([], [(ce, "LEG_EXIT")])


def test_a_queued_entry_of_a_leaving_leg_stays_at_the_gate() -> None:
    """The exit of the leg was decided while its entry was queued."""
    execution = straddle(ce=lifecycle.SENDING, pe=lifecycle.SENDING)
    ce, pe = execution.intents
    execution.run.leg_exits["ce"] = "STOP"
    assert (why_not_enter(execution, ce), why_not_enter(execution, pe)) == ("LEG_EXIT", "")


def test_a_short_is_not_sold_without_the_hedge_that_has_left() -> None:
    execution = committed(strategy_spec([WING, CE, PE]))
    wing, ce, pe = execution.intents
    wing.state, wing.filled_quantity, wing.sends = lifecycle.FILLED, LOT, 1
    execution.run.leg_exits["wing"] = "TARGET"
    steps = next_steps(execution, at())
    assert steps.miss == [(ce, "LEG_EXIT")]
    assert steps.send == [pe]


def test_a_leg_that_left_before_it_entered_is_no_failed_leg() -> None:
    """Nobody else's leg is unwound for it, and later groups go on."""
    execution = committed(strategy_spec([CE, PE], order_rule="AS_LISTED"))
    ce, pe = execution.intents
    execution.run.leg_exits["ce"] = "STOP"
    ce.state, ce.sends = lifecycle.ACCEPTED, 1
    ce.broker_order_id = "B1"
    assert next_steps(execution, at()).cancel == [ce]
    ask_to_withdraw(execution, ce, 0)
    cancelled = report(ce, BookState.CANCELLED)
    transitions.apply_report(ce, cancelled, at=ENTRY_AT, now_mono=NOW + 1)
    assert (ce.state, ce.cause) == (lifecycle.CANCELLED, "LEG_EXIT")
    assert next_steps(execution, at(1)).send == [pe]
    pe.state, pe.filled_quantity = lifecycle.FILLED, LOT
    steps = next_steps(execution, at(2))
    assert (steps.status, steps.exits, steps.cause) == ("OPEN", [], "")


def test_an_order_the_broker_took_back_is_a_failed_leg() -> None:
    execution = straddle(pe=lifecycle.ACCEPTED)
    put = execution.intents[1]
    transitions.apply_report(put, report(put, BookState.CANCELLED), at=ENTRY_AT, now_mono=NOW)
    assert put.cause == "CANCELLED_BY_BROKER"
    assert leaving(execution, at(1)) == {"ce": "UNWIND"}


# -- cancels that come to nothing ------------------------------------------------------------------
def test_two_thousand_cancels_in_75_seconds() -> None:
    """Seen: 2,304 for 48 exits whose cancels the broker refused. Who is told: CANCEL_UNHEARD."""
    execution = straddle(pe=lifecycle.FILLED)
    execution.status, execution.exit_reason = "OPEN", "EXIT_NOW"
    resting = exit_filled(execution, "ce", Side.BUY, LOT)
    resting.state, resting.filled_quantity, resting.cancel_after_mono = (
        lifecycle.ACCEPTED,
        0,
        NOW + 3,
    )
    asked = []
    for quarter in range(300):
        for intent in next_steps(execution, at(quarter / 4)).cancel:
            ask_to_withdraw(execution, intent, quarter / 4)
            asked.append(quarter / 4)
    assert asked == [3.0, 6.25, 12.5, 24.75, 49.0]
    assert resting.cancel_since_mono == NOW + 3, "the clock counts from the first"


def test_the_pause_between_cancels_doubles_up_to_half_a_minute() -> None:
    assert [cancel_backoff(n) for n in (1, 2, 3, 4, 5, 6)] == [3, 6, 12, 24, 30, 30]
    assert cancel_backoff(0) == 3
    assert cancel_backoff(10_000) == CANCEL_AGAIN_MAX


def test_another_legs_exit_does_not_wait_for_one_that_hangs() -> None:
    legs = (leg_spec("SELL", "CE", key="ce"), leg_spec("BUY", "PE", key="put"))
    execution = committed(strategy_spec(legs))
    for intent in execution.intents:
        intent.state, intent.filled_quantity, intent.sends = lifecycle.FILLED, LOT, 1
    execution.status = "EXITING"
    hanging = exit_filled(execution, "ce", Side.BUY, LOT)
    hanging.state, hanging.filled_quantity = lifecycle.ACCEPTED, 0
    assert leaving(execution, at(exit_due=True)) == {}, "sold legs first"
    hanging.cancels = 2
    assert leaving(execution, at(exit_due=True)) == {"put": "EXIT_TIME"}


# -- of what nobody tells --------------------------------------------------------------------------
@pytest.mark.parametrize("state", [lifecycle.UNKNOWN, lifecycle.ACCEPTED, lifecycle.PARTIAL])
def test_a_leg_the_book_is_silent_about_is_told(state: str) -> None:
    """Other witnesses are asked about the leg. Seen: an order book dead for ever, and 48 naked
    shorts that no stop ever closed."""
    execution = straddle(pe=state)
    execution.exit_reason = "EXIT_NOW"
    exit_filled(execution, "ce", Side.BUY, LOT)
    for intent in next_steps(execution, at(1)).cancel:
        ask_to_withdraw(execution, intent, 1)
    assert leaving(execution, at(3)) == {}, "its book is read every second or two"
    silent = at(SILENT_AFTER, grace_over=True)
    (order,) = next_steps(execution, silent).exits
    assert (order.leg_key, order.side, order.quantity, order.perhaps) == ("pe", Side.BUY, 0, LOT)
    assert [alarm.key for alarm in next_steps(execution, silent).alarms] == [("UNRESOLVED", "pe")]


def test_a_bought_leg_waited_for_a_short_that_never_was() -> None:
    """Seen (story 26084): in a book that was dead the short's entry was cancelled and the bought
    leg's filled. The positions showed both, but only the short was ever asked about."""
    legs = (leg_spec("SELL", "PE", key="pe"), leg_spec("BUY", "CE", key="call"))
    execution = committed(strategy_spec(legs, order_rule="PARALLEL"))
    for intent in execution.intents:
        intent.state, intent.sends, intent.sent_mono, intent.filled_quantity = (
            lifecycle.ACCEPTED,
            1,
            NOW,
            0,
        )
        ask_to_withdraw(execution, intent, 1)
    execution.exit_reason = "EXIT_NOW"
    silent = at(SILENT_AFTER, grace_over=True)
    assert leaving(execution, silent) == {"pe": "EXIT_NOW"}, "sold legs first"
    execution.cleared.add("pe")
    assert leaving(execution, silent) == {"pe": "EXIT_NOW", "call": "EXIT_NOW"}


def test_a_book_that_is_read_tells_and_positions_are_not_asked() -> None:
    execution = straddle(pe=lifecycle.ACCEPTED)
    execution.exit_reason = "EXIT_NOW"
    put = execution.intents[1]
    transitions.apply_report(put, report(put), at=ENTRY_AT, now_mono=NOW + 50)
    put.cancels, put.cancel_since_mono = 1, NOW
    assert leaving(execution, at(51)) == {"ce": "EXIT_NOW"}
    unknown = straddle(pe=lifecycle.UNKNOWN)
    unknown.exit_reason = "EXIT_NOW"
    unknown.intents[1].proof = AbsenceProof(NOW, 10.0, reads=1)
    assert leaving(unknown, at(50)) == {"ce": "EXIT_NOW"}


def test_what_only_positions_showed_is_closed_once() -> None:
    """The position is not turned over when the book reports the fill after all."""
    execution = straddle(pe=lifecycle.ACCEPTED)
    execution.exit_reason = "EXIT_NOW"
    exit_filled(execution, "ce", Side.BUY, LOT)
    exit_filled(execution, "pe", Side.BUY, LOT)
    assert execution.open_legs() == {}
    assert leaving(execution, at(60, grace_over=True)) == {}
    put = execution.intents[1]
    transitions.apply_report(
        put, report(put, BookState.FILLED, LOT), at=ENTRY_AT, now_mono=NOW + 61
    )
    assert execution.open_legs() == {}
    assert leaving(execution, at(61)) == {}
    assert execution.profit() is not None


def test_what_was_closed_for_no_entry_is_traded_back() -> None:
    """The control: the position was somebody else's after all, so there was no entry."""
    execution = straddle(pe=lifecycle.ACCEPTED)
    execution.exit_reason = "EXIT_NOW"
    exit_filled(execution, "ce", Side.BUY, LOT)
    exit_filled(execution, "pe", Side.BUY, LOT)
    put = execution.intents[1]
    transitions.apply_report(put, report(put, BookState.CANCELLED), at=ENTRY_AT, now_mono=NOW + 2)
    (order,) = next_steps(execution, at(3)).exits
    assert (order.leg_key, order.side, order.quantity) == ("pe", Side.SELL, LOT)


def test_positions_end_an_escalated_entry() -> None:
    """An escalated entry is over when the positions have been read."""
    execution = straddle(ce=lifecycle.FILLED, pe=lifecycle.ESCALATED)
    exit_filled(execution, "ce", Side.BUY, LOT)
    (order,) = next_steps(execution, at(130)).exits
    assert (order.leg_key, order.quantity, order.perhaps) == ("pe", 0, LOT)
    execution.cleared.add("pe")
    assert next_steps(execution, at(131)).status == "FAILED"


def test_what_is_untold_at_the_close_is_named() -> None:
    execution = straddle(ce=lifecycle.ACCEPTED, pe=lifecycle.ACCEPTED)
    steps = next_steps(execution, at(session_over=True, grace_over=True, exit_due=True))
    assert [alarm.cause for alarm in steps.alarms] == ["SESSION_OVER"]
