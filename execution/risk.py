"""Leg stop, target and move-to-cost, based on the prices of the run's decision. Pure.

A SELL at P with a 25 % stop is hit at P x 1.25, a BUY at P x 0.75; points likewise; targets are
mirrored. Levels are rounded so that neither rule triggers earlier than written: a sold leg's stop
up, a bought leg's down; a sold leg's target down, a bought leg's up. A level at or below zero stays
there: no price reaches it, so the rule never triggers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import Side
from execution.pricing import on_grid
from marketplace.definition import RuleSpec


@dataclass(frozen=True, slots=True)
class Watch:
    """Levels of one leg, rupees per unit. ``stop``/``target`` None: no such rule."""

    leg_key: str
    side: Side
    reference: Decimal
    stop: Decimal | None
    target: Decimal | None
    triggered: bool = False


def _distance(rule: RuleSpec, reference: Decimal) -> Decimal:
    value = Decimal(rule.params["value"])
    if rule.kind == "PREMIUM_PERCENT":
        return reference * value / 100
    if rule.kind == "PREMIUM_POINTS":
        return value
    raise ValueError(f"unknown stop or target kind {rule.kind}")


def stop_level(
    side: Side, reference: Decimal, rule: RuleSpec | None, tick: Decimal
) -> Decimal | None:
    """Price (rupees) at which a leg entered at ``reference`` is stopped out; None: no stop."""
    if rule is None:
        return None
    adverse = reference - side.sign * _distance(rule, reference)
    return on_grid(adverse, tick, up=side is Side.SELL)


def target_level(
    side: Side, reference: Decimal, rule: RuleSpec | None, tick: Decimal
) -> Decimal | None:
    """Price (rupees) at which a leg entered at ``reference`` takes profit; None: no target."""
    if rule is None:
        return None
    favourable = reference + side.sign * _distance(rule, reference)
    return on_grid(favourable, tick, up=side is Side.BUY)


def trigger(watch: Watch, price: Decimal) -> str | None:
    """``STOP`` or ``TARGET`` if ``price`` (rupees) has reached a level; the stop wins."""
    if watch.triggered:
        return None
    if watch.stop is not None:
        hit = price >= watch.stop if watch.side is Side.SELL else price <= watch.stop
        if hit:
            return "STOP"
    if watch.target is not None:
        hit = price <= watch.target if watch.side is Side.SELL else price >= watch.target
        if hit:
            return "TARGET"
    return None


def move_to_cost(
    watches: Iterable[Watch], stopped_leg: str, mode: str, hedges: Collection[str] = ()
) -> dict[str, Decimal]:
    """New stops (leg -> rupees) of the other legs after ``stopped_leg`` was stopped.

    Cost is the leg's own reference price. A stop is only ever tightened: a level already better
    than cost stays. ``SL_LEGS_ONLY`` skips legs without a stop. ``hedges`` of a sold leg that is
    still open (execution.hedges) keep their stops: sold at cost they would leave that leg naked.
    """
    moved: dict[str, Decimal] = {}
    if mode == "OFF":
        return moved
    for watch in watches:
        if watch.leg_key == stopped_leg or watch.triggered or watch.leg_key in hedges:
            continue
        if watch.stop is None and mode == "SL_LEGS_ONLY":
            continue
        tighter = watch.stop is None or (
            watch.reference < watch.stop
            if watch.side is Side.SELL
            else watch.reference > watch.stop
        )
        if tighter:
            moved[watch.leg_key] = watch.reference
    return moved
