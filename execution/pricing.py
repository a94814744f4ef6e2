"""Limit prices that fill at once: a protection band by premium slab, rounded toward the fill.

Bands are those brokers publish for options (market-rules.md 4b): below 10 rupees 5 %, below 100
3 %, below 500 2 %, else 1 %.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final

from brokers.base import Side

_SLABS: Final = (
    (Decimal(10), Decimal("0.05")),
    (Decimal(100), Decimal("0.03")),
    (Decimal(500), Decimal("0.02")),
)
_ABOVE: Final = Decimal("0.01")


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
    counts earlier tries that did not fill: each adds one band.
    """
    base = (ask if side is Side.BUY else bid) or last
    fraction = band(base) * (1 + widen)
    if side is Side.BUY:
        return round_to_tick(base * (1 + fraction), tick, up=True)
    return round_to_tick(base * max(1 - fraction, Decimal("0.05")), tick, up=False)
