"""Limit prices that fill at once: a protection band by premium slab, rounded toward the fill.

Bands are those that brokers publish for options (https://github.com/marketcalls/openalgo,
utils/mpp_slab.py): below 10 rupees 5 %, below 100 3 %, below 500 2 %, else 1 %.
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


#: How many bands one side of a book may be away from the contract's fair price, and both sides
#: from each other: 50 %, 30 %, 20 % and 10 % by slab. Our rule, not an exchange's: books within it
#: trade every day; beyond it a marketable limit would pay whatever price somebody left there.
FARTHEST: Final = 10
#: The same limit in ticks: the books of cheap options are wide because of the tick alone.
FARTHEST_TICKS: Final = 4
#: The limit however often an exit was tried: a bid of 0.05 is not believed for a premium of 100.
NEVER_BEYOND: Final = Decimal("0.9")

#: Which price of a quote a decision was based on: the last trade, or the middle of the book.
LAST: Final = "LAST"
MID: Final = "MID"


#: A trade is not later than the quote that reports it, except for clocks of whole seconds.
CLOCKS_APART: Final = dt.timedelta(seconds=2)


class Quoted(Protocol):
    """A quote with its two ages (``marketplace.ports.Quote``, which is not pure, is one)."""

    @property
    def last(self) -> Decimal:
        """Last traded price, rupees per unit."""

    @property
    def bid(self) -> Decimal | None:
        """Best bid, rupees per unit; None: no bid."""

    @property
    def ask(self) -> Decimal | None:
        """Best ask, rupees per unit; None: no ask."""

    @property
    def at(self) -> dt.datetime:
        """The exchange's time of bid and ask."""

    @property
    def traded_at(self) -> dt.datetime | None:
        """When ``last`` was traded; None: not known."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The worth of a contract: ``price`` in rupees per unit as of ``at`` (UTC).

    ``basis`` is :data:`LAST` or :data:`MID`.
    """

    price: Decimal
    basis: str
    at: dt.datetime


def mark(quote: Quoted, *, oldest: dt.datetime, tick: Decimal) -> Mark | None:
    """The usable price of ``quote``, no part of it older than ``oldest``; None if it has none.

    A last trade that is young enough is the price. If it is older (a far option may not have traded
    since Friday), the price is the middle of a two-sided book, on the nearest tick. A one-sided
    book has no middle, a crossed book is invalid, and the middle of a book wider than anybody
    trades at is nobody's price: a stop judged by it would fire for all. A trade later than its own
    quote has no credible time, so it is not used.
    """
    if quote.at < oldest:
        return None
    if quote.traded_at is not None and oldest <= quote.traded_at <= quote.at + CLOCKS_APART:
        return Mark(quote.last, LAST, quote.traded_at)
    if quote.bid is None or quote.ask is None or not _is_close(quote.bid, quote.ask, tick):
        return None
    return Mark(nearest_tick((quote.bid + quote.ask) / 2, tick), MID, quote.at)


def within(price: Decimal, allowed: PriceBand | None, tick: Decimal) -> Decimal:
    """``price``, or the nearest price on the tick grid inside the band ``allowed``."""
    if allowed is None:
        return price
    if allowed.low is not None and price < allowed.low:
        return round_to_tick(allowed.low, tick, up=True)
    if allowed.high is not None and price > allowed.high:
        return round_to_tick(allowed.high, tick, up=False)
    return price


def protection(price: Decimal) -> Decimal:
    """Protection band, as a fraction, for a premium in rupees."""
    for limit, fraction in _SLABS:
        if price < limit:
            return fraction
    return _ABOVE


def on_grid(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """``price`` rounded up or down to the tick grid; the result may be zero or negative."""
    steps = (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return steps * tick


def round_to_tick(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """``price`` rounded up or down to the tick grid, never below one tick."""
    return max(on_grid(price, tick, up=up), tick)


def nearest_tick(price: Decimal, tick: Decimal) -> Decimal:
    """``price`` on the nearest tick (half up), never below one tick."""
    steps = (price / tick).to_integral_value(ROUND_HALF_UP)
    return max(steps * tick, tick)


def good_price(
    *, last: Decimal, bid: Decimal | None, ask: Decimal | None, tick: Decimal
) -> Decimal:
    """The fair price of a contract, rupees: the middle of a close book, else the last price.

    A book is close if it has both sides, uncrossed, and no farther apart than its slab allows.
    """
    if bid and ask and _is_close(bid, ask, tick):
        return (bid + ask) / 2
    return last


def _is_close(bid: Decimal, ask: Decimal, tick: Decimal) -> bool:
    return bid <= ask and ask - bid <= _reach((bid + ask) / 2, tick, 0)


def touch(
    side: Side,
    *,
    last: Decimal,
    bid: Decimal | None,
    ask: Decimal | None,
    tick: Decimal,
    widen: int = 0,
) -> Decimal | None:
    """The opposite side of the book (rupees) if it is near enough to trade at; None if it is too
    far or empty. Every earlier unfilled try (``widen``) allows the same distance once more.
    """
    opposite = ask if side is Side.BUY else bid
    good = good_price(last=last, bid=bid, ask=ask, tick=tick)
    if not opposite or abs(opposite - good) > _reach(good, tick, max(widen, 0)):
        return None
    return opposite


def _reach(price: Decimal, tick: Decimal, widen: int) -> Decimal:
    fraction = min(protection(price) * FARTHEST * (1 + widen), NEVER_BEYOND)
    return max(price * fraction, FARTHEST_TICKS * tick)


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

    The base is the opposite side of the book if it is near enough (:func:`touch`), else the
    contract's fair price. ``widen`` counts earlier tries that did not fill: each adds one band;
    -1 adds no band at all.
    """
    base = touch(side, last=last, bid=bid, ask=ask, tick=tick, widen=widen)
    base = base or good_price(last=last, bid=bid, ask=ask, tick=tick)
    fraction = protection(base) * (1 + widen)
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
    day: PriceBand | None = None,
) -> Decimal:
    """Limit price (rupees) of the next try to close a leg, inside the ``day``'s circuit limits.

    ``refused``: the last try's price was outside of what the market or the broker permits. Crossing
    farther would only lead farther out, so this try stays at the touch, or inside the band
    (``allowed``) that the refusal named, which is newer than ``day``.
    """
    narrow = refused and allowed is None
    price = marketable_limit(
        side, last=last, bid=bid, ask=ask, tick=tick, widen=-1 if narrow else widen
    )
    return within(within(price, day, tick), allowed, tick)
