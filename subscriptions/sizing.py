"""How many lots a subscriber trades. Pure (execution.md section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from marketplace.definition import Definition, LegSpec, StrategySpec, leg_label


class SizingError(Exception):
    """A multiplier does not fit a template; the message names the leg or the ratio."""


def leg_lots(base_lots: int, multiplier: Decimal) -> int:
    """Lots of a leg: ``floor(base lots x multiplier)``."""
    return math.floor(base_lots * multiplier)


@dataclass(frozen=True, slots=True)
class EffectiveLeg:
    """What one leg of a template means for one subscriber."""

    leg: str
    lots: int


def effective_lots(definition: Definition, multiplier: Decimal) -> list[EffectiveLeg]:
    """Lots per leg, in order; legs that would get none are included with 0."""
    return [
        EffectiveLeg(leg_label(leg), leg_lots(leg.lots, multiplier))
        for strategy in definition.strategies
        for leg in strategy.legs
    ]


def zero_lot_legs(definition: Definition, multiplier: Decimal) -> list[str]:
    """Labels of the legs that a multiplier leaves without lots."""
    return [item.leg for item in effective_lots(definition, multiplier) if item.lots == 0]


def _pairs(strategy: StrategySpec) -> Iterator[tuple[LegSpec, LegSpec]]:
    first, *rest = strategy.legs
    return ((first, other) for other in rest)


def check_multiplier(definition: Definition, multiplier: Decimal) -> None:
    """SizingError when a leg would get 0 lots, or when the legs' ratio would change.

    The ratio is what the author designed the risk for: 1:2 with 1.5 would become 1:3.
    """
    zero = zero_lot_legs(definition, multiplier)
    if zero:
        raise SizingError(f"{zero[0]} would get 0 lots with multiplier {multiplier}")
    for strategy in definition.strategies:
        if not strategy.legs:
            continue
        for one, other in _pairs(strategy):
            lots, others = leg_lots(one.lots, multiplier), leg_lots(other.lots, multiplier)
            if lots * other.lots != others * one.lots:
                raise SizingError(
                    f"multiplier {multiplier} would change the ratio of {leg_label(one)} to "
                    f"{leg_label(other)} from {one.lots}:{other.lots} to {lots}:{others}"
                )
