"""The order in which the legs of a strategy are placed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from marketplace.definition import LegSpec


def order_groups(legs: Sequence[LegSpec], order_rule: str) -> list[int]:
    """Group number of each leg: a group is sent once the one before it is filled."""
    if order_rule == "PARALLEL":
        return [0] * len(legs)
    if order_rule == "AS_LISTED":
        return list(range(len(legs)))
    has_buys = any(leg.side == "BUY" for leg in legs)
    return [0 if leg.side == "BUY" or not has_buys else 1 for leg in legs]
