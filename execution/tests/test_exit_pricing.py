"""By whose price an exit leaves when the feed is dead, and how far it crosses."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import PriceBand, Side
from execution.exit_pricing import (
    ACCOUNT,
    DECISION,
    FEED,
    FILL,
    POSITION,
    Known,
    Reference,
    Tries,
    limit,
    reference,
)
from execution.tests.inmemory import ENTRY_AT, TICK
from execution.tests.strategies import premiums, sides
from marketplace.ports import Quote

NOW = ENTRY_AT + dt.timedelta(hours=1)
OLDEST = NOW - dt.timedelta(seconds=5)
FILLED_AT = NOW - dt.timedelta(seconds=90)


def quote(last: str, age: float = 1.0, **fields: Any) -> Quote:
    price, at = Decimal(last), NOW - dt.timedelta(seconds=age)
    values = {"bid": price - 1, "ask": price + 1, "traded_at": at, **fields}
    return Quote(last=price, at=at, source="test", **values)


UNTRADED = quote("12.40", traded_at=None, bid=Decimal(5), ask=Decimal(80))
EVERYTHING: dict[str, Any] = {
    "feed": quote("160"),
    "account": quote("161", 2.0),
    "position": Decimal(162),
    "fill": Decimal(100),
    "filled_at": FILLED_AT,
}


@pytest.mark.parametrize(
    ("lost", "source", "price", "age"),
    [
        pytest.param([], FEED, "160", "1", id="feed"),
        pytest.param(["feed"], ACCOUNT, "161", "2", id="account"),
        pytest.param(["feed", "account"], POSITION, "162", None, id="position"),
        pytest.param(["feed", "account", "position"], FILL, "100", "90", id="fill"),
        pytest.param(["feed", "account", "position", "fill"], DECISION, "98", None, id="decision"),
    ],
)
def test_the_next_best_witness(lost: list[str], source: str, price: str, age: str | None) -> None:
    known = Known(Decimal(98), **{k: v for k, v in EVERYTHING.items() if k not in lost})
    ref = reference(known, now=NOW, oldest=OLDEST, tick=TICK)
    assert (ref.source, ref.price) == (source, Decimal(price))
    assert ref.age == (None if age is None else Decimal(age))


def test_a_quote_that_is_no_price_leaves_its_book() -> None:
    """Bid 5, ask 80, traded on Friday: what the position shows is younger than our own fill."""
    known = Known(Decimal(98), feed=UNTRADED, position=Decimal(60), fill=Decimal(100))
    ref = reference(known, now=NOW, oldest=OLDEST, tick=TICK)
    assert (ref.source, ref.book) == (POSITION, UNTRADED)


def blind(source: str = FILL, price: int = 100) -> Reference:
    return Reference(source, Decimal(price), None, None)


def tries_after(rounds: int) -> Tries:
    return Tries(unfilled=[Decimal(1)] * rounds, rounds=rounds)


@pytest.mark.parametrize(
    ("side", "limits"),
    [
        (Side.BUY, ["115", "150", "250", "500", "1000", "1000"]),
        (Side.SELL, ["85", "60", "35", "15", "5", "5"]),
    ],
)
def test_blind_tries_stayed_within_a_few_percent_of_the_entry(
    side: Side, limits: list[str]
) -> None:
    """Seen: the price had moved by 60 %, and half of the legs were open after five tries."""
    asked = [limit(side, blind(), tries_after(rounds), TICK) for rounds in range(6)]
    assert asked == [Decimal(price) for price in limits]


def test_a_positions_last_price_is_followed_closely_at_first() -> None:
    """The limits of a buy are 4 % above the price, then 15 % and 50 %."""
    prices = [limit(Side.BUY, blind(POSITION), tries_after(rounds), TICK) for rounds in range(3)]
    assert prices == [Decimal(104), Decimal(115), Decimal(150)]


def test_the_gap_between_unfilled_and_refused_is_halved() -> None:
    tries = Tries(unfilled=[Decimal(115)], refused=[Decimal(150)], last_refused=True, rounds=1)
    assert limit(Side.BUY, blind(), tries, TICK) == Decimal("132.50")
    tries = Tries(unfilled=[Decimal(85)], refused=[Decimal(60)], last_refused=True, rounds=1)
    assert limit(Side.SELL, blind(), tries, TICK) == Decimal("72.50")


def test_a_band_that_the_refusal_named_is_kept() -> None:
    band = PriceBand(Decimal(20), Decimal(140))
    tries = Tries(refused=[Decimal(150)], last_refused=True, allowed=band, rounds=1)
    assert limit(Side.BUY, blind(), tries, TICK) == Decimal(140)


@given(
    side=sides, price=premiums, rounds=st.integers(0, 12), refused=st.lists(premiums, max_size=3)
)
def test_every_limit_is_a_price(
    side: Side, price: Decimal, rounds: int, refused: list[Decimal]
) -> None:
    ref = Reference(FILL, price, None, None)
    asked = limit(side, ref, Tries(refused=refused, rounds=rounds), TICK)
    assert asked >= TICK
    assert asked % TICK == 0
