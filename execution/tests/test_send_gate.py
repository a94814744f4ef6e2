"""Nothing leaves on an old grant: what is asked before every single send."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from brokers.base import Side
from execution import lifecycle
from execution.send_gate import GRANT_SECONDS, in_the_way, why_not_enter, why_not_leave
from execution.state import LiveExecution, LiveIntent
from execution.tests.inmemory import LOT, live_execution, live_intent

NOW = 1000.0


def entry(execution: LiveExecution, **fields: Any) -> LiveIntent:
    return live_intent(execution, **fields)


def leaving(execution: LiveExecution, **fields: Any) -> LiveIntent:
    """An exit that buys back, granted now."""
    values: dict[str, Any] = {
        "purpose": lifecycle.EXIT,
        "side": Side.BUY,
        "state": lifecycle.SENDING,
        "granted_mono": NOW,
    }
    return live_intent(execution, **{**values, **fields})


def sold(units: int = LOT) -> LiveExecution:
    execution = live_execution(status="OPEN")
    entry(execution, state=lifecycle.FILLED, quantity=units, filled_quantity=units)
    return execution


# -- entries -------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", sorted(set(lifecycle.FINAL) - {lifecycle.FILLED}))
def test_slices_left_after_a_margin_refusal(state: str) -> None:
    """Seen: 36 slices, a refusal at T+0.01 s, and 26 more orders left."""
    execution = live_execution()
    entry(execution, state=state)
    entry(execution, state=lifecycle.SENDING)
    assert why_not_enter(execution, execution.intents[-1]) == "LEG_FAILED"


def test_an_entry_behind_one_that_was_late_is_late_and_not_failed() -> None:
    execution = live_execution()
    entry(execution, state=lifecycle.MISSED, cause="GRACE_OVER")
    entry(execution, state=lifecycle.SENDING)
    assert why_not_enter(execution, execution.intents[-1]) == "GRACE_OVER"


def test_slices_left_after_everybody_was_told_to_leave() -> None:
    """Seen: EXIT_NOW while the slices waited for their pace, and 25 more orders left."""
    execution = live_execution()
    entry(execution, state=lifecycle.SENDING)
    assert why_not_enter(execution, execution.intents[-1]) == ""
    execution.exit_reason = "EXIT_NOW"
    assert why_not_enter(execution, execution.intents[-1]) == "EXIT_REQUESTED"
    execution.exit_reason, execution.run.run_exit = "", "STOP"
    assert why_not_enter(execution, execution.intents[-1]) == "EXIT_DUE"


def test_filled_and_waiting_slices_stop_nobody() -> None:
    execution = live_execution()
    for state in (
        lifecycle.FILLED,
        lifecycle.PLANNED,
        lifecycle.SENDING,
        lifecycle.UNKNOWN,
        lifecycle.PARTIAL,
    ):
        entry(execution, state=state)
    leaving(execution, state=lifecycle.CANCELLED)
    assert why_not_enter(execution, execution.intents[-1]) == ""


# -- exits ---------------------------------------------------------------------------------------
def test_an_exit_that_waited_too_long_asks_again() -> None:
    execution = sold()
    waiting = leaving(execution)
    assert why_not_leave(execution, waiting, NOW + GRANT_SECONDS) == ""
    assert why_not_leave(execution, waiting, NOW + GRANT_SECONDS + 0.1) == "SUPERSEDED"


def test_an_exit_of_a_leg_that_was_closed_meanwhile_stays_here() -> None:
    execution = sold()
    waiting = leaving(execution)
    execution.closed_outside[waiting.leg_key] = LOT
    assert why_not_leave(execution, waiting, NOW) == "NOT_NEEDED"


def test_slices_of_one_exit_may_leave_together() -> None:
    """Together they never exceed what the leg holds."""
    execution = sold(3 * LOT)
    slices = [leaving(execution, slice=number) for number in range(3)]
    for exit_order in slices:
        assert why_not_leave(execution, exit_order, NOW) == ""
        exit_order.sent_mono = NOW
    assert why_not_leave(execution, leaving(execution, slice=3), NOW) == "NOT_NEEDED"


@pytest.mark.parametrize("state", [lifecycle.UNKNOWN, lifecycle.ACCEPTED, lifecycle.PARTIAL])
def test_what_an_earlier_exit_may_close_is_not_closed_twice(state: str) -> None:
    """Units that an earlier exit may still close are left to it."""
    execution = sold()
    leaving(execution, state=state, sent_mono=NOW)
    assert why_not_leave(execution, leaving(execution, attempt_group=1), NOW) == "NOT_NEEDED"


def test_the_wrong_side_never_leaves() -> None:
    execution = sold()
    assert why_not_leave(execution, leaving(execution, side=Side.SELL), NOW) == "NOT_NEEDED"


# -- our own orders on the other side -------------------------------------------------------------
def resting(price: str = "98.00", **fields: Any) -> LiveIntent:
    """A sell of another strategy of the same account, at the broker."""
    values: dict[str, Any] = {
        "state": lifecycle.ACCEPTED,
        "price": Decimal(price),
        "sent_mono": NOW,
    }
    return live_intent(**{**values, **fields})


def buying(price: str = "103.00", **fields: Any) -> LiveIntent:
    return live_intent(**{"side": Side.BUY, "price": Decimal(price), **fields})


@pytest.mark.parametrize("purpose", [lifecycle.ENTRY, lifecycle.EXIT, lifecycle.UNWIND])
@pytest.mark.parametrize(
    "state", [lifecycle.SENDING, lifecycle.UNKNOWN, lifecycle.ACCEPTED, lifecycle.PARTIAL]
)
def test_strategies_of_one_account_would_have_self_traded(state: str, purpose: str) -> None:
    """Whatever has left and is not final may stand in the exchange's book."""
    other = resting(state=state)
    assert in_the_way(buying(purpose=purpose), [other]) == [other]


def test_prices_decide_whether_two_orders_meet() -> None:
    other = resting("103.00")
    assert in_the_way(buying("103.00"), [other]) == [other]
    assert in_the_way(buying("102.95"), [other]) == []
    mine = buying("100.00", state=lifecycle.ACCEPTED)
    assert in_the_way(resting("100.05"), [mine]) == []
    assert in_the_way(resting("100.00"), [mine]) == [mine]


@pytest.mark.parametrize(
    "other",
    [
        resting(side=Side.BUY),
        resting(contract_id=2),
        resting(state=lifecycle.PLANNED),
        resting(state=lifecycle.SENDING, sent_mono=0.0),
        *(resting(state=state) for state in sorted(lifecycle.FINAL)),
    ],
    ids=["same side", "another contract", "planned", "not sent yet", *sorted(lifecycle.FINAL)],
)
def test_what_cannot_meet_an_order_is_not_in_its_way(other: LiveIntent) -> None:
    assert in_the_way(buying(), [other]) == []


def test_an_exit_waited_for_the_entry_that_it_closes() -> None:
    """Seen with a book that was dead: the exit waited for four seconds although the positions had
    shown what the entry filled."""
    execution = live_execution(status="COMMITTED")
    accepted = entry(execution, state=lifecycle.ACCEPTED, price=Decimal(98))
    closing = leaving(execution, price=Decimal(102))
    assert in_the_way(closing, [accepted]) == [accepted], "the control: it may rest there"
    closing.supposed = LOT
    assert in_the_way(closing, [accepted]) == []
