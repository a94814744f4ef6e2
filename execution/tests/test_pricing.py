"""Limit prices: on the grid, never below a tick, rounded toward the fill."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Side
from execution.pricing import (
    NEVER_BEYOND,
    good_price,
    marketable_limit,
    nearest_tick,
    on_grid,
    protection,
    round_to_tick,
    touch,
)
from execution.tests.strategies import premiums, sides, ticks

widenings = st.integers(0, 6)
D = Decimal


@given(price=premiums, tick=ticks, up=st.booleans())
def test_rounding_stays_on_the_grid_within_a_tick_and_above_zero(
    price: Decimal, tick: Decimal, up: bool
) -> None:
    rounded = round_to_tick(price, tick, up=up)
    assert rounded % tick == 0
    assert rounded >= tick
    if up:
        assert price <= rounded < max(price + tick, 2 * tick)
    else:
        assert rounded <= max(price, tick)
        assert rounded > price - tick


@given(price=st.decimals(-100, 100, places=2), tick=ticks, up=st.booleans())
def test_the_plain_grid_also_knows_what_no_price_can_reach(
    price: Decimal, tick: Decimal, up: bool
) -> None:
    level = on_grid(price, tick, up=up)
    assert level % tick == 0
    assert (price <= level < price + tick) if up else (price - tick < level <= price)


@given(price=premiums, tick=ticks)
def test_the_nearest_tick_is_at_most_half_a_tick_away(price: Decimal, tick: Decimal) -> None:
    rounded = nearest_tick(price, tick)
    assert rounded % tick == 0
    assert rounded >= tick
    if price >= tick:
        assert abs(rounded - price) <= tick / 2


@given(side=sides, base=premiums, tick=ticks, widen=widenings)
def test_a_limit_crosses_its_base_by_the_band_toward_the_fill(
    side: Side, base: Decimal, tick: Decimal, widen: int
) -> None:
    price = marketable_limit(side, last=base, bid=None, ask=None, tick=tick, widen=widen)
    assert price % tick == 0
    assert price >= tick
    away = base * protection(base) * (1 + widen)
    if side is Side.BUY:
        assert price >= base + away  # rounding never makes it less likely to fill
        assert price < base + away + tick or price == tick
    else:
        assert price <= max(base - away, base * D("0.05"), tick)
        assert price > base - away - tick


@given(side=sides, base=premiums, tick=ticks, widen=widenings)
def test_every_try_crosses_further(side: Side, base: Decimal, tick: Decimal, widen: int) -> None:
    first = marketable_limit(side, last=base, bid=None, ask=None, tick=tick, widen=widen)
    second = marketable_limit(side, last=base, bid=None, ask=None, tick=tick, widen=widen + 1)
    assert second >= first if side is Side.BUY else second <= first


def test_the_opposite_side_of_the_book_is_the_base() -> None:
    def limit(side: Side) -> Decimal:
        return marketable_limit(side, last=D(100), bid=D("98.00"), ask=D("103.00"), tick=D("0.05"))

    assert limit(Side.BUY) == D("105.10")  # 103 + 2 % = 105.06, up
    assert limit(Side.SELL) == D("95.05")  # 98 - 3 % = 95.06, down


@pytest.mark.parametrize("side", Side)
def test_an_empty_side_of_the_book_falls_back_to_the_last_price(side: Side) -> None:
    tick = D("0.05")
    empty = marketable_limit(side, last=D(50), bid=D(0), ask=D(0), tick=tick)
    assert empty == marketable_limit(side, last=D(50), bid=None, ask=None, tick=tick)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("0.05", "0.05"),
        ("9.99", "0.05"),
        ("10", "0.03"),
        ("99.99", "0.03"),
        ("100", "0.02"),
        ("499.99", "0.02"),
        ("500", "0.01"),
        ("2500", "0.01"),
    ],
)
def test_bands_by_premium_slab(price: str, expected: str) -> None:
    assert protection(D(price)) == D(expected)


# -- the guard: no book is followed wherever it goes ---------------------------------------------
def limit(side: Side, last: str, bid: str | None, ask: str | None, widen: int = 0) -> Decimal:
    sides = {"bid": None if bid is None else D(bid), "ask": None if ask is None else D(ask)}
    return marketable_limit(side, last=D(last), **sides, tick=D("0.05"), widen=widen)


def test_last_100_and_an_ask_of_300_is_not_bought_at_306() -> None:
    assert limit(Side.BUY, "100", "99", "300") == D("102.00")
    assert touch(Side.BUY, last=D(100), bid=D(99), ask=D(300), tick=D("0.05")) is None


def test_last_100_and_a_bid_of_0_05_is_not_sold_at_0_05() -> None:
    assert limit(Side.SELL, "100", "0.05", "101") == D("98.00")
    for widen in range(7):
        assert limit(Side.SELL, "100", "0.05", "101", widen) >= 86, "however often it was tried"


def test_a_close_book_beats_a_last_price_that_it_has_left_behind() -> None:
    """The market has moved: both sides say so, and stand beside each other."""
    assert limit(Side.SELL, "100", "40", "41") == D("38.80")
    assert limit(Side.BUY, "100", "180", "183") == D("186.70")


def test_an_exit_follows_a_lonely_bid_step_by_step() -> None:
    """Each try reaches a little farther."""
    bids = [
        touch(Side.SELL, last=D(100), bid=D(45), ask=None, tick=D("0.05"), widen=n)
        for n in range(4)
    ]
    assert bids == [None, None, D(45), D(45)]


def test_a_cheap_option_may_have_a_book_of_ticks() -> None:
    assert touch(Side.SELL, last=D("0.10"), bid=D("0.05"), ask=D("0.15"), tick=D("0.05"))
    assert touch(Side.BUY, last=D("0.10"), bid=D("0.05"), ask=D("0.25"), tick=D("0.05"))
    assert touch(Side.BUY, last=D("0.10"), bid=D("0.05"), ask=D("3"), tick=D("0.05")) is None


@given(
    side=sides,
    last=premiums,
    bid=st.none() | premiums,
    ask=st.none() | premiums,
    tick=ticks,
    widen=widenings,
)
def test_no_limit_is_farther_than_reach_and_band_allow(
    side: Side, last: Decimal, bid: Decimal | None, ask: Decimal | None, tick: Decimal, widen: int
) -> None:
    """The distance is counted from the fair price, in both directions and for any book:
    NEVER_BEYOND for the touch, one band a try on top of it."""
    good = good_price(last=last, bid=bid, ask=ask, tick=tick)
    assert good == last or (bid is not None and ask is not None and bid <= good <= ask)
    price = marketable_limit(side, last=last, bid=bid, ask=ask, tick=tick, widen=widen)
    if side is Side.BUY:
        farthest = max(good * (1 + NEVER_BEYOND), good + 4 * tick)
        assert price <= farthest * (1 + D("0.05") * (1 + widen)) + tick
    else:
        nearest = min(good * (1 - NEVER_BEYOND), max(good - 4 * tick, D(0)))
        assert price >= max(nearest * D("0.05") - tick, tick)
