"""Limit prices that fill at once: a protection band by premium slab, rounded toward the fill.

Bands are those brokers publish for options (market-rules.md 4b): below 10 rupees 5 %, below 100
3 %, below 500 2 %, else 1 %.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final, Protocol

from brokers.base import PriceBand, Side

_SLABS: Final = (
    (Decimal(10), Decimal("0.05")),
    (Decimal(100), Decimal("0.03")),
    (Decimal(500), Decimal("0.02")),
)
_ABOVE: Final = Decimal("0.01")


#: Which of a quote's prices a decision was taken on: its last trade, or the middle of the book.
LAST: Final = "LAST"
MID: Final = "MID"


class Quoted(Protocol):
    """A quote with its two ages (``marketplace.ports.Quote``, which is not pure, is one)."""

    @property
    def last(self) -> Decimal:
        """Last traded price, rupees per unit."""

    @property
    def bid(self) -> Decimal | None:
        """Best price somebody pays, None: nobody."""

    @property
    def ask(self) -> Decimal | None:
        """Best price somebody takes, None: nobody."""

    @property
    def at(self) -> dt.datetime:
        """The exchange's time of bid and ask."""

    @property
    def traded_at(self) -> dt.datetime | None:
        """When ``last`` was traded, None: nobody says."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a contract is worth: ``price`` in rupees per unit, as of ``at`` (UTC), and by what.

    ``basis`` is :data:`LAST` or :data:`MID`.
    """

    price: Decimal
    basis: str
    at: dt.datetime


def mark(quote: Quoted, *, oldest: dt.datetime, tick: Decimal) -> Mark | None:
    """The price that ``quote`` is good for, none of it older than ``oldest``; None if it has none.

    A last trade of that age is the price. Where it is older (a far option may not have traded since
    Friday) the book is younger than it: the middle of a book with two sides, on the nearest tick.
    A book with one side has no middle, and a crossed one is no book.
    """
    if quote.at < oldest:
        return None
    if quote.traded_at is not None and quote.traded_at >= oldest:
        return Mark(quote.last, LAST, quote.traded_at)
    if quote.bid is None or quote.ask is None or quote.bid > quote.ask:
        return None
    return Mark(nearest_tick((quote.bid + quote.ask) / 2, tick), MID, quote.at)


def within(price: Decimal, allowed: PriceBand | None, tick: Decimal) -> Decimal:
    """``price``, or the nearest on the tick grid that ``allowed`` (a broker's word) includes."""
    if allowed is None:
        return price
    if allowed.low is not None and price < allowed.low:
        return round_to_tick(allowed.low, tick, up=True)
    if allowed.high is not None and price > allowed.high:
        return round_to_tick(allowed.high, tick, up=False)
    return price


def band(price: Decimal) -> Decimal:
    """Protection band, as a fraction, for a premium in rupees."""
    for limit, fraction in _SLABS:
        if price < limit:
            return fraction
    return _ABOVE


def on_grid(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """``price`` on the tick grid, upward or downward; also where it is zero or below."""
    steps = (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return steps * tick


def round_to_tick(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """``price`` on the tick grid, upward or downward, never below one tick."""
    return max(on_grid(price, tick, up=up), tick)


def nearest_tick(price: Decimal, tick: Decimal) -> Decimal:
    """``price`` on the nearest tick (half up), never below one tick."""
    steps = (price / tick).to_integral_value(ROUND_HALF_UP)
    return max(steps * tick, tick)


def marketable_limit(
    side: Side,
    *,
    last: Decimal,
    bid: Decimal | None,
    ask: Decimal | None,
    tick: Decimal,
    widen: int = 0,
) -> Decimal:
    """Limit price (rupees) that crosses the spread by the band, rounded toward the fill.

    The base is the opposite side of the book where it is known, else the last price. ``widen``
    counts earlier tries that did not fill: each adds one band; -1 leaves the base as it is.
    """
    base = (ask if side is Side.BUY else bid) or last
    fraction = band(base) * (1 + widen)
    if side is Side.BUY:
        return round_to_tick(base * (1 + fraction), tick, up=True)
    return round_to_tick(base * max(1 - fraction, Decimal("0.05")), tick, up=False)


def exit_limit(
    side: Side,
    *,
    last: Decimal,
    bid: Decimal | None,
    ask: Decimal | None,
    tick: Decimal,
    widen: int,
    refused: bool,
    allowed: PriceBand | None,
) -> Decimal:
    """Limit price (rupees) of the next try to close a leg.

    ``refused`` says that the last try's price was outside of what the market or the broker permits:
    crossing further would only lead further out, so this one stays at the touch, or inside the
    band (``allowed``) that the refusal named.
    """
    narrow = refused and allowed is None
    price = marketable_limit(
        side, last=last, bid=bid, ask=ask, tick=tick, widen=-1 if narrow else widen
    )
    return within(price, allowed, tick)
