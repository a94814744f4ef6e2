"""The synthetic market: a function of seed and time, on the tick, without arbitrage."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.contracts import UNDERLYINGS, Contract, generate
from brokers.simulator.facts import Facts
from brokers.simulator.market import RATE, YEAR_SECONDS, Market, black, tick_down, tick_up
from brokers.tests.driven_simulator import TEN_O_CLOCK
from quantleap.core.clock import IST

LISTED = generate(dt.date(2026, 8, 18))
contracts = st.sampled_from(LISTED.contracts)
instants = st.floats(0, 5 * 3600).map(lambda s: TEN_O_CLOCK.timestamp() + s)
names = st.sampled_from(sorted(UNDERLYINGS))


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=IST)


@given(contract=contracts, t=instants, seed=st.integers(0, 2**31))
def test_quotes_lie_on_the_tick_and_bid_below_ask(contract: Contract, t: float, seed: int) -> None:
    quote = Market(seed).quote(contract, t)
    assert quote.bid >= contract.tick
    assert quote.bid < quote.ask
    assert quote.bid <= quote.last <= quote.ask
    assert all(p % contract.tick == 0 for p in (quote.bid, quote.ask, quote.last))


@given(contract=contracts, t=instants, other=instants)
def test_the_same_seed_and_instant_give_the_same_price(
    contract: Contract, t: float, other: float
) -> None:
    market, other_market = Market(7), Market(7)
    other_market.quote(contract, other)  # what was asked before does not matter
    assert market.quote(contract, t) == other_market.quote(contract, t)


def test_another_seed_is_another_path() -> None:
    t = TEN_O_CLOCK.timestamp()
    assert Market(1).spot("NIFTY", t) != Market(2).spot("NIFTY", t)


@given(
    forward=st.floats(1000, 90_000),
    ratio=st.floats(0.8, 1.25),
    years=st.floats(0, 1),
    iv=st.floats(0.05, 1),
)
def test_put_call_parity(forward: float, ratio: float, years: float, iv: float) -> None:
    strike = forward * ratio
    call, put = (black(forward, strike, years, iv, kind) for kind in ("CE", "PE"))
    assert math.isclose(call - put, forward - strike, abs_tol=1e-6 * forward)


@given(
    forward=st.floats(1000, 90_000),
    ratio=st.floats(0.8, 1.2),
    years=st.floats(0.0001, 1),
    iv=st.floats(0.05, 1),
)
def test_a_call_gains_and_a_put_loses_when_the_market_rises(
    forward: float, ratio: float, years: float, iv: float
) -> None:
    strike, higher = forward * ratio, forward * 1.01
    slack = 1e-7 * forward
    assert black(higher, strike, years, iv, "CE") >= black(forward, strike, years, iv, "CE") - slack
    assert black(higher, strike, years, iv, "PE") <= black(forward, strike, years, iv, "PE") + slack


def test_an_expired_option_is_worth_its_intrinsic_value() -> None:
    assert black(100.0, 90.0, 0.0, 0.2, "CE") == 10.0
    assert black(100.0, 90.0, 0.0, 0.2, "PE") == 0.0


def test_a_future_carries_the_cost_of_money() -> None:
    market = Market()
    t = TEN_O_CLOCK.timestamp()
    expiry = dt.date(2026, 9, 29)
    years = (at("2026-09-29T15:40").timestamp() - t) / YEAR_SECONDS
    expected = market.spot("NIFTY", t) * math.exp(RATE * years)
    assert market.forward("NIFTY", expiry, t) == pytest.approx(expected)


@given(name=names, target=st.floats(10_000, 90_000), ramp=st.floats(0, 600))
def test_a_move_arrives_at_its_target(name: str, target: float, ramp: float) -> None:
    market, now = Market(), TEN_O_CLOCK.timestamp()
    before = market.spot(name, now)
    market.move(name, now=now, spot=target, ramp_seconds=ramp)
    assert market.spot(name, now + ramp) == pytest.approx(target)
    if ramp > 1:
        assert market.spot(name, now) == pytest.approx(before)
        half = market.spot(name, now + ramp / 2)
        room = 0.01 * max(before, target)
        assert min(before, target) - room <= half <= max(before, target) + room


def test_a_shift_is_added_to_what_was_moved_before() -> None:
    market, now = Market(), TEN_O_CLOCK.timestamp()
    before = market.spot("NIFTY", now)
    market.move("NIFTY", now=now, shift=100)
    market.move("NIFTY", now=now, shift=-30)
    assert market.spot("NIFTY", now) == pytest.approx(before + 70)
    market.reset()
    assert market.spot("NIFTY", now) == pytest.approx(before)


def test_a_move_shows_in_the_very_next_quote() -> None:
    market, now = Market(), TEN_O_CLOCK.timestamp()
    contract = LISTED.by_kite_symbol["NIFTY2681825000CE"]
    before = market.quote(contract, now)
    market.move("NIFTY", now=now, shift=200)
    assert market.quote(contract, now).bid > before.ask
    market.set_iv("NIFTY", 0.5)
    assert market.quote(contract, now).theoretical > before.theoretical


def test_without_noise_only_moves_remain() -> None:
    market = Market()
    market.set_noise(0)
    t = TEN_O_CLOCK.timestamp()
    assert market.spot("NIFTY", t) == market.spot("NIFTY", t + 999) == 25_000


@pytest.mark.parametrize(
    ("now", "is_open", "market_time"),
    [
        ("2026-08-18T09:14:59.9", False, "2026-08-17T15:40"),
        ("2026-08-18T09:15", True, "2026-08-18T09:15"),
        ("2026-08-18T15:39:59.9", True, "2026-08-18T15:39:59.8"),
        ("2026-08-18T15:40", False, "2026-08-18T15:40"),
        ("2026-08-17T08:00", False, "2026-08-13T15:40"),
        ("2026-08-16T11:00", False, "2026-08-13T15:40"),
        ("2026-08-14T11:00", False, "2026-08-13T15:40"),
    ],
)
def test_prices_stand_still_out_of_session(now: str, is_open: bool, market_time: str) -> None:
    market = Market(1, Facts(closed_days=frozenset({dt.date(2026, 8, 14)})))
    assert market.is_open(at(now)) is is_open
    assert market.market_time(at(now)) == pytest.approx(at(market_time).timestamp(), abs=1e-3)


@given(value=st.floats(0.01, 10_000), tick=st.sampled_from(["0.05", "0.1", "0.2"]))
def test_rounding_goes_the_way_it_says(value: float, tick: str) -> None:
    step = Decimal(tick)
    down, up = tick_down(value, step), tick_up(value, step)
    assert float(down) <= value + 1e-6
    assert float(up) >= value - 1e-6
    assert up - down <= step


def test_the_day_so_far_contains_the_present() -> None:
    market, t = Market(), TEN_O_CLOCK.timestamp()
    contract = LISTED.by_kite_symbol["NIFTY2681825000CE"]
    ohlc = market.ohlc(contract, t)
    assert ohlc.low <= market.quote(contract, t).last <= ohlc.high
    assert ohlc.low <= ohlc.open <= ohlc.high
