"""The price of an exit: the best source that is left, and how far the limit crosses. Pure.

An exit does not wait for a feed. Without one it is priced by the account's own broker: its quote,
then the last price in its list of positions, then the leg's fill price. The less is known, the
farther the limit crosses; it is still a limit order (docs/adr/0011), so it fills at the price that
somebody offers. Observed: the feed dead, the price moved by 60 %, every try within a few percent of
the entry price, and half of the legs still open after five tries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from brokers.base import PriceBand, Side
from execution.pricing import Quoted, exit_limit, mark, round_to_tick, within

# Sources of a price, stored on the order (execution.models.OrderIntent.PriceSource).
FEED: Final = "FEED"
ACCOUNT: Final = "ACCOUNT"
POSITION: Final = "POSITION"
FILL: Final = "FILL"
DECISION: Final = "DECISION"

#: Limits of tries without a quote, as multiples of the known price: the first, the second … and
#: every further one. Buys go up to ten times the price, sells down to a twentieth.
FAR_BUY: Final = tuple(map(Decimal, ("1.15", "1.5", "2.5", "5", "10")))
FAR_SELL: Final = tuple(map(Decimal, ("0.85", "0.6", "0.35", "0.15", "0.05")))


class Limited(Quoted, Protocol):
    """A quote that may name the day's circuit limits."""

    @property
    def lowest(self) -> Decimal | None:
        """Lower circuit limit today, rupees per unit; None: not known."""

    @property
    def highest(self) -> Decimal | None:
        """Upper circuit limit today, rupees per unit; None: not known."""


@dataclass(frozen=True, slots=True)
class Known:
    """The prices known for one leg, in rupees per unit.

    ``position`` is the last price in the broker's list of positions, ``fill`` the average entry
    price and ``filled_at`` its time, ``decided`` the price of the entry decision.
    """

    decided: Decimal
    feed: Limited | None = None
    account: Limited | None = None
    position: Decimal | None = None
    fill: Decimal | None = None
    filled_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The price that an exit follows, its source, and its age (seconds; None: not known).

    ``book`` is the quote that supplies bid and ask; None if there is none.
    """

    source: str
    price: Decimal
    age: Decimal | None
    book: Limited | None


@dataclass(frozen=True, slots=True)
class Tries:
    """The earlier tries to close this leg: limits that did not fill, and limits that were refused.

    ``last_refused``: the newest was refused for its price; ``allowed``: the band that the refusal
    named, if any; ``rounds``: the number of prices already tried.
    """

    unfilled: Sequence[Decimal] = ()
    refused: Sequence[Decimal] = ()
    last_refused: bool = False
    allowed: PriceBand | None = None
    rounds: int = 0


def reference(known: Known, *, now: dt.datetime, oldest: dt.datetime, tick: Decimal) -> Reference:
    """The best price in ``known``, ignoring quotes older than ``oldest``."""
    book = known.feed or known.account
    for source, quote in ((FEED, known.feed), (ACCOUNT, known.account)):
        worth = None if quote is None else mark(quote, oldest=oldest, tick=tick)
        if worth is not None:
            return Reference(source, worth.price, _seconds(now - worth.at), quote)
    if known.position:
        return Reference(POSITION, known.position, None, book)
    if known.fill:
        age = None if known.filled_at is None else _seconds(now - known.filled_at)
        return Reference(FILL, known.fill, age, book)
    return Reference(DECISION, known.decided, None, book)


def limit(side: Side, ref: Reference, tries: Tries, tick: Decimal) -> Decimal:
    """Limit price, rupees per unit, of the next try to close a leg."""
    book = ref.book
    blind = book is None and not (ref.source == POSITION and not tries.rounds)
    if blind:
        price = _far(side, ref, tries, tick)
        return within(price, tries.allowed, tick)
    return exit_limit(
        side,
        last=ref.price,
        bid=book.bid if book else None,
        ask=book.ask if book else None,
        tick=tick,
        # A position's last price is younger than our fill, but nothing more is known about it.
        widen=min(tries.rounds, 3) + (0 if book else 1),
        refused=tries.last_refused,
        allowed=tries.allowed,
        day=_circuit_limits(book),
    )


def _far(side: Side, ref: Reference, tries: Tries, tick: Decimal) -> Decimal:
    """Cross farther with every try; after a refusal, halfway between unfilled and refused."""
    factors = FAR_BUY if side is Side.BUY else FAR_SELL
    tried = tries.rounds - 1 if ref.source == POSITION else tries.rounds
    price = ref.price * factors[min(max(tried, 0), len(factors) - 1)]
    if tries.refused and tries.allowed is None:
        nearest = min if side is Side.BUY else max
        farthest = max if side is Side.BUY else min
        refused, reached = nearest(tries.refused), farthest([ref.price, *tries.unfilled])
        price = nearest(price, (refused + reached) / 2)
    return round_to_tick(price, tick, up=side is Side.BUY)


def _circuit_limits(quote: Limited | None) -> PriceBand | None:
    """The day's circuit limits, if the quote has any."""
    if quote is None or (quote.lowest is None and quote.highest is None):
        return None
    return PriceBand(quote.lowest, quote.highest)


def _seconds(age: dt.timedelta) -> Decimal:
    return max(Decimal(0), Decimal(f"{age.total_seconds():.3f}"))
