"""The pay-off estimate: against known shapes, and against another implementation."""

from __future__ import annotations

import math

import pytest
from blackscholes import (  # type: ignore[import-untyped]  # ships no types
    BlackScholesCall,
    BlackScholesPut,
)
from hypothesis import given
from hypothesis import strategies as st

from marketplace.payoff import RATE, OptionLeg, black_scholes, payoff, profit_at

levels = st.floats(5_000, 90_000)


@given(levels, levels, st.floats(0.002, 1.5), st.floats(0.05, 0.8))
def test_the_same_premiums_as_another_implementation(
    spot: float, strike: float, years: float, volatility: float
) -> None:
    for kind, other in (("CE", BlackScholesCall), ("PE", BlackScholesPut)):
        theirs = other(S=spot, K=strike, T=years, r=RATE, sigma=volatility).price()
        assert black_scholes(kind, spot, strike, years, volatility) == pytest.approx(
            theirs, abs=0.01
        )


@given(levels, levels, st.floats(0, 2))
def test_put_call_parity(spot: float, strike: float, years: float) -> None:
    call = black_scholes("CE", spot, strike, years)
    put = black_scholes("PE", spot, strike, years)
    assert call - put == pytest.approx(spot - strike * math.exp(-RATE * years), abs=0.01)


def leg(sign: int, kind: str, strike: float, premium: float) -> OptionLeg:
    return OptionLeg(sign, kind, strike, premium, 65)


def test_a_short_straddle() -> None:
    outcome = payoff([leg(-1, "CE", 25_000, 100), leg(-1, "PE", 25_000, 110)], 25_000)
    assert outcome.net_premium == pytest.approx(210 * 65)
    assert outcome.max_profit == pytest.approx(210 * 65)
    assert outcome.max_loss is None
    assert outcome.break_evens == pytest.approx((24_790, 25_210))


def test_an_iron_condor_is_limited_on_both_sides() -> None:
    legs = [
        leg(1, "PE", 24_600, 20),
        leg(-1, "PE", 24_800, 50),
        leg(-1, "CE", 25_200, 55),
        leg(1, "CE", 25_400, 25),
    ]
    outcome = payoff(legs, 25_000)
    assert outcome.max_profit == pytest.approx(60 * 65)
    assert outcome.max_loss == pytest.approx(-(200 - 60) * 65)
    assert outcome.break_evens == pytest.approx((24_740, 25_260))


def test_limits_of_a_bought_call_and_a_bought_put() -> None:
    call = payoff([leg(1, "CE", 25_000, 100)], 25_000)
    assert call.max_profit is None
    assert call.max_loss == pytest.approx(-6_500)
    put = payoff([leg(1, "PE", 25_000, 100)], 25_000)
    assert put.max_profit == pytest.approx((25_000 - 100) * 65)


@given(
    st.lists(st.tuples(st.sampled_from([1, -1]), st.sampled_from(["CE", "PE"]), levels), max_size=6)
)
def test_the_mirror_loses_what_this_wins(shapes: list[tuple[int, str, float]]) -> None:
    mine = [leg(sign, kind, strike, 42.0) for sign, kind, strike in shapes]
    theirs = [leg(-sign, kind, strike, 42.0) for sign, kind, strike in shapes]
    for spot in (10_000.0, 25_000.0, 60_000.0):
        assert profit_at(mine, spot) + profit_at(theirs, spot) == pytest.approx(0, abs=1e-6)
