"""Exits whose price is refused: step toward the market, wait longer, call a person early."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, Cause, OrderReport, Outcome, PriceBand, SendResult, Side
from execution import lifecycle, transitions
from execution.backoff import PRICE_BACKOFF_MAX, exit_backoff, price_backoff
from execution.next_steps import next_steps
from execution.pricing import exit_limit, marketable_limit, within
from execution.state import LiveExecution, LiveIntent
from execution.steps import Situation
from execution.tests.inmemory import ENTRY_AT, LOT, committed, live_intent, report
from execution.tests.strategies import premiums, sides, ticks
from marketplace.tests.factories import leg_spec, strategy_spec

D = Decimal
TICK = D("0.05")


def held() -> LiveExecution:
    """One sold call, filled, and the exit time reached."""
    execution = committed(strategy_spec([leg_spec("SELL", "CE", key="ce")]))
    for intent in execution.intents:
        intent.state, intent.filled_quantity, intent.average_price = lifecycle.FILLED, LOT, D(100)
    execution.status = "EXITING"
    return execution


def tried(execution: LiveExecution, attempt: int) -> LiveIntent:
    return live_intent(
        execution,
        leg_key="ce",
        side=Side.BUY,
        purpose=lifecycle.EXIT,
        attempt_group=attempt,
        state=lifecycle.SENDING,
        sends=1,
    )


def refusal(band: PriceBand | None = None, cause: Cause = Cause.PRICE_BAND) -> SendResult:
    return SendResult(Outcome.REFUSED, cause=cause, message="circuit", band=band)


def refused_for(seconds: float, result: SendResult) -> tuple[list[float], list[float]]:
    """When exits left, and when a person was called, while every one is refused at once."""
    execution = held()
    left: list[float] = []
    called: list[float] = []
    for tick in range(int(seconds / 0.25)):
        now = 1000.0 + tick * 0.25
        steps = next_steps(execution, Situation(now_mono=now, grace_over=True, exit_due=True))
        fresh = {alarm.key for alarm in steps.alarms} - execution.alarms
        execution.alarms |= fresh
        if any(cause != "EXIT_UNFILLED" for cause, _ in fresh):
            called.append(now - 1000.0)
            assert {cause for cause, _ in fresh} == {str(result.cause)}
        for order in steps.exits:
            left.append(now - 1000.0)
            intent = tried(execution, order.attempt_group)
            transitions.apply_answer(intent, result, at=ENTRY_AT, now_mono=now, jitter=0.5)
    return left, called


def test_refused_exits_are_not_sent_1728_times() -> None:
    """Seen: 1,728 and 1,584 attempts at prices beyond one percent, all refused. Five minutes of
    refusals of one leg."""
    left, called = refused_for(300, refusal())
    assert len(left) <= 15
    gaps = [later - earlier for earlier, later in itertools.pairwise(left)]
    assert gaps == sorted(gaps)
    assert max(gaps) == PRICE_BACKOFF_MAX
    assert called == [left[1] + 0.25]  # after the second refusal
    control, _ = refused_for(300, refusal(cause=Cause.MARGIN))
    assert len(control) > 4 * len(left)


def test_a_band_that_the_refusal_named_is_tried_at_once() -> None:
    left, _ = refused_for(300, refusal(PriceBand(D(58), D(112))))
    assert left[1] <= 0.5
    assert len(left) <= 17


def test_a_daily_limit_is_never_sent_again_and_calls_a_person() -> None:
    left, called = refused_for(300, refusal(cause=Cause.DAILY_LIMIT))
    assert len(left) == 1
    assert len(called) == 1


def test_a_rejection_in_the_book_waits_as_a_refusal_does() -> None:
    for state in (BookState.REJECTED, BookState.CANCELLED):
        intent = tried(held(), 3)
        band = PriceBand(low=D("70.65"))
        row = report(intent, state, cause=Cause.PRICE_BAND)
        banded_row = OrderReport(
            **{name: getattr(row, name) for name in row.__slots__} | {"band": band}
        )
        transitions.apply_report(intent, banded_row, at=ENTRY_AT, now_mono=1000.0)
        assert (intent.cause, intent.band) == ("PRICE_BAND", band)
        assert intent.not_before_mono == 1000.0 + price_backoff(3, told=True)
    intent = tried(held(), 3)
    transitions.apply_report(
        intent, report(intent, BookState.CANCELLED), at=ENTRY_AT, now_mono=1000.0
    )
    assert intent.cause == "CANCELLED_BY_BROKER"
    assert intent.not_before_mono == 1000.0 + exit_backoff(3)


@pytest.mark.parametrize("told", [True, False])
def test_the_wait_doubles_up_to_half_a_minute(told: bool) -> None:
    waits = [price_backoff(attempt, told=told) for attempt in range(200)]
    assert waits == sorted(waits)
    assert waits[1] == 2 * waits[0]
    assert waits[-1] == PRICE_BACKOFF_MAX


bands = st.builds(
    lambda low, width, which: PriceBand(
        low if which != "high" else None, low + width if which != "low" else None
    ),
    st.decimals("0.05", 1000, places=2),
    st.decimals(5, 500, places=2),
    st.sampled_from(["low", "high", "both"]),
)


@given(
    side=sides,
    last=premiums,
    tick=ticks,
    band=bands,
    widen=st.integers(0, 6),
    refused=st.booleans(),
)
def test_the_next_price_is_inside_the_band_that_was_named(
    side: Side, last: Decimal, tick: Decimal, band: PriceBand, widen: int, refused: bool
) -> None:
    price = exit_limit(
        side,
        last=last,
        bid=None,
        ask=None,
        tick=tick,
        widen=widen,
        refused=refused,
        allowed=band,
    )
    assert price % tick == 0
    assert band.low is None or price >= band.low
    assert band.high is None or price <= max(band.high, tick)


@given(side=sides, last=premiums, tick=ticks, widen=st.integers(0, 6))
def test_a_refusal_without_a_band_prices_at_the_touch(
    side: Side, last: Decimal, tick: Decimal, widen: int
) -> None:
    """Every further try stays at that price."""
    near = exit_limit(
        side, last=last, bid=None, ask=None, tick=tick, widen=widen, refused=True, allowed=None
    )
    assert abs(near - last) <= tick
    far = exit_limit(
        side, last=last, bid=None, ask=None, tick=tick, widen=widen, refused=False, allowed=None
    )
    assert far == marketable_limit(side, last=last, bid=None, ask=None, tick=tick, widen=widen)
    assert (near - far) * side.sign <= 0


@given(side=sides, last=premiums, tick=ticks, day=bands, widen=st.integers(0, 6))
def test_no_exit_is_priced_beyond_a_quotes_circuit_limits(
    side: Side, last: Decimal, tick: Decimal, day: PriceBand, widen: int
) -> None:
    """Seen: exits refused beyond ±1 % although every quote had named the limits."""
    price = exit_limit(
        side,
        last=last,
        bid=None,
        ask=None,
        tick=tick,
        widen=widen,
        refused=False,
        allowed=None,
        day=day,
    )
    assert day.low is None or price >= day.low
    assert day.high is None or price <= max(day.high, tick)


def test_the_refusals_word_is_newer_than_the_quotes() -> None:
    price = exit_limit(
        Side.BUY,
        last=D(100),
        bid=None,
        ask=None,
        tick=TICK,
        widen=0,
        refused=True,
        allowed=PriceBand(high=D("99.52")),
        day=PriceBand(D("100.50"), D(200)),
    )
    assert price == D("99.50")


def test_a_price_inside_the_band_stays_as_it_is() -> None:
    assert within(D("81.30"), PriceBand(D(58), D(112)), TICK) == D("81.30")
    assert within(D("81.30"), None, TICK) == D("81.30")
    assert within(D("57.00"), PriceBand(D("58.03"), D(112)), TICK) == D("58.05")
    assert within(D("113.00"), PriceBand(D(58), D("112.03")), TICK) == D("112.00")
