"""How many lots a subscriber trades: floor(base lots x multiplier), leg by leg. Pure.

A multiplier that would change the ratio between legs is refused by name
(docs/subscriptions.md#multipliers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from math import gcd

from marketplace.definition import Definition, LegSpec, StrategySpec, leg_label
from quantleap.core.decimals import trimmed
from subscriptions.errors import LotsZero, MultiplierNotPositive, RatioChanged


@dataclass(frozen=True, slots=True)
class EffectiveLots:
    """The lots of one leg under a multiplier. ``leg`` is its label, ``lots`` whole lots."""

    leg: str
    lots: int


def leg_lots(base_lots: int, multiplier: Decimal) -> int:
    """Lots of a leg: ``base_lots`` x ``multiplier`` rounded down to whole lots."""
    return int((base_lots * multiplier).to_integral_value(ROUND_FLOOR))


def effective_lots(
    definition: Definition, multiplier: Decimal, *, hide_legs: bool = False
) -> list[EffectiveLots]:
    """The lots of every leg of every strategy. ``hide_legs`` numbers the legs of a black box."""
    return [
        EffectiveLots(label, leg_lots(leg.lots, multiplier))
        for _, leg, label in _labelled(definition, hide_legs)
    ]


def check_multiplier(
    definition: Definition, multiplier: Decimal, *, hide_legs: bool = False
) -> None:
    """Refuse a multiplier that would not trade the strategy as written.

    Raises MultiplierNotPositive; LotsZero naming the leg that would get no lots; RatioChanged
    naming two legs of one strategy and their ratio before and after. All are 400 on
    ``lot_multiplier``.
    """
    if multiplier <= 0:
        raise MultiplierNotPositive(
            "lot_multiplier must be greater than 0",
            details={"lot_multiplier": "Must be greater than 0."},
        )
    labels = {}
    for strategy, leg, label in _labelled(definition, hide_legs):
        labels[strategy.key, leg.key] = label
        if leg_lots(leg.lots, multiplier) <= 0:
            words = f"{label}: {leg.lots} x {trimmed(multiplier)} is less than one lot."
            raise LotsZero(f"lot_multiplier: {words}", details={"lot_multiplier": words})
    for strategy in definition.strategies:
        pair = changed_ratio(strategy.legs, multiplier)
        if pair is None:
            continue
        names = [labels[strategy.key, leg.key] for leg in pair]
        words = ratio_words(pair, multiplier, names)
        raise RatioChanged(
            f"lot_multiplier: the ratio between legs would change: {words}",
            details={"lot_multiplier": f"Changes the ratio between legs: {words}"},
        )


def changed_ratio(legs: Sequence[LegSpec], multiplier: Decimal) -> tuple[LegSpec, LegSpec] | None:
    """The first leg and the first leg whose ratio to it would change, or None.

    Comparing with the first leg is enough: the ratios to it determine all others.
    """
    for other in legs[1:]:
        first = legs[0]
        first_lots, other_lots = leg_lots(first.lots, multiplier), leg_lots(other.lots, multiplier)
        if first_lots * other.lots != other_lots * first.lots:
            return first, other
    return None


def _labelled(
    definition: Definition, hide_legs: bool
) -> Iterator[tuple[StrategySpec, LegSpec, str]]:
    """All legs with labels, which begin with the strategy's name if there is more than one."""
    several = len(definition.strategies) > 1
    for position, strategy in enumerate(definition.strategies, start=1):
        name = f"Strategy {position}" if hide_legs else strategy.name
        for number, leg in enumerate(strategy.legs, start=1):
            label = f"Leg {number}" if hide_legs else leg_label(leg)
            yield strategy, leg, f"{name}: {label}" if several else label


def ratio_words(pair: tuple[LegSpec, LegSpec], multiplier: Decimal, names: Sequence[str]) -> str:
    """The changed ratio of two legs in a sentence: ``A and B: 1:2 x 1.5 -> 1:3.``"""
    first, second = pair
    before = _ratio(first.lots, second.lots)
    after = _ratio(leg_lots(first.lots, multiplier), leg_lots(second.lots, multiplier))
    return f"{names[0]} and {names[1]}: {before} x {trimmed(multiplier)} -> {after}."


def _ratio(first: int, second: int) -> str:
    common = gcd(first, second) or 1
    return f"{first // common}:{second // common}"
