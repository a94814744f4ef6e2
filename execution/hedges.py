"""What a bought leg hedges, and when it may leave (docs/adr/0032). Pure.

A bought leg hedges the sold legs of its own option type: the legs of a strategy share their
underlying, and a call bounds the loss of no put. It is *needed* while it covers a sold unit that
no other bought leg of the type covers. A needed leg leaves only with what it hedges or after it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from brokers.base import Side
from marketplace.definition import LegSpec


def needed_hedges(legs: Sequence[LegSpec], units: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Map each needed bought leg to the sold legs that it hedges.

    ``units`` are the signed units of every leg that is open or may become so (bought positive).
    """
    needed: dict[str, tuple[str, ...]] = {}
    for leg in legs:
        held = units.get(leg.key, 0)
        if held <= 0:
            continue
        hedged = tuple(
            other.key
            for other in legs
            if other.option_type == leg.option_type and units.get(other.key, 0) < 0
        )
        bought = sum(
            max(0, units.get(other.key, 0))
            for other in legs
            if other.option_type == leg.option_type
        )
        sold = -sum(units[key] for key in hedged)
        if sold > bought - held:
            needed[leg.key] = hedged
    return needed


def leaving_together(
    legs: Sequence[LegSpec], units: Mapping[str, int], exiting: Mapping[str, str]
) -> dict[str, str]:
    """``exiting`` (leg to reason) plus the sold legs that must exit because their hedge exits.

    An author's stop or target on a bought leg is a promise: it applies at its level, and the sold
    legs it hedges exit first, for the same reason.
    """
    together = dict(exiting)
    for leg_key, hedged in needed_hedges(legs, units).items():
        if leg_key in exiting:
            for sold in hedged:
                together.setdefault(sold, exiting[leg_key])
    return together


def standing_hedges(legs: Sequence[LegSpec], stopped: Collection[str]) -> frozenset[str]:
    """Bought legs whose type has a sold leg not in ``stopped``: they get no stop at cost."""
    sold = {leg.option_type for leg in legs if leg.side == Side.SELL and leg.key not in stopped}
    return frozenset(leg.key for leg in legs if leg.side == Side.BUY and leg.option_type in sold)
