"""The entry orders of one subscriber, from strategy, resolved legs and lot multiplier. Pure.

Quantity of a leg = floor(base lots x lot_multiplier) x the contract's lot size, sliced by
min(freeze quantity, max_lots_per_order x lot size) rounded down to whole lots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.base import Side
from execution.pricing import LAST, marketable_limit
from marketplace.definition import StrategySpec
from marketplace.leg_order import order_groups
from subscriptions.capacity import EntryPace
from subscriptions.sizing import changed_ratio, leg_lots, ratio_words

#: Most orders of one leg. A small integer numbers them in the table; no account's pace allows more.
MAX_SLICES: Final = 1_000


class PlanError(Exception):
    """A plan cannot be made; ``cause`` is a code of execution.descriptions."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message


@dataclass(frozen=True, slots=True)
class ResolvedLeg:
    """One leg after the run's ENTRY decision: contract, dated data, and prices in rupees.

    ``reference_price`` is what the contract was worth at the decision, in rupees per unit;
    ``basis`` says what it is (LAST, the last trade, or MID, the middle of the book), ``age`` how
    many seconds old it was then.
    """

    leg_key: str
    contract_id: int
    label: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int
    reference_price: Decimal
    bid: Decimal | None
    ask: Decimal | None
    basis: str = LAST
    age: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order to place. ``quantity`` in units, ``price`` the limit in rupees per unit."""

    leg_key: str
    leg_index: int
    group: int
    slice: int
    side: Side
    contract_id: int
    quantity: int
    price: Decimal
    reference_price: Decimal


def slices(quantity: int, lot_size: int, freeze: int, max_lots: int | None) -> Iterator[int]:
    """Cut ``quantity`` units into orders of whole lots within all limits.

    Raises PlanError(FREEZE) if not even one lot fits into an order.
    """
    cap = _order_cap(lot_size, freeze, max_lots)
    while quantity > 0:
        piece = min(quantity, cap)
        yield piece
        quantity -= piece


def _check_lots(
    strategy: StrategySpec, resolved: Mapping[str, ResolvedLeg], multiplier: Decimal
) -> None:
    for leg in strategy.legs:
        if leg_lots(leg.lots, multiplier) <= 0:
            label = resolved[leg.key].label
            raise PlanError("LOTS_ZERO", f"{label}: {leg.lots} x {multiplier} is 0 lots")
    pair = changed_ratio(strategy.legs, multiplier)
    if pair is not None:
        names = [resolved[leg.key].label for leg in pair]
        raise PlanError("RATIO_CHANGED", ratio_words(pair, multiplier, names))


def _check_count(
    strategy: StrategySpec,
    resolved: Mapping[str, ResolvedLeg],
    multiplier: Decimal,
    max_lots: int | None,
    groups: Sequence[int],
    pace: EntryPace | None,
) -> None:
    """Count the orders before making any: a multiplier may require a billion of them."""
    by_group = [0] * (max(groups) + 1)
    for leg, group in zip(strategy.legs, groups, strict=True):
        target = resolved[leg.key]
        cap = _order_cap(target.lot_size, target.freeze_quantity, max_lots)
        count = -(-leg_lots(leg.lots, multiplier) * target.lot_size // cap)
        if count > MAX_SLICES:
            message = f"{target.label}: {count} orders; a leg has at most {MAX_SLICES}"
            raise PlanError("TOO_MANY_ORDERS", message)
        by_group[group] += count
    if pace is not None and not pace.fits(by_group):
        orders = sum(by_group)
        message = f"{orders} orders cannot all leave within {pace.seconds:g} s at this pace"
        raise PlanError("TOO_MANY_ORDERS", message)


def _order_cap(lot_size: int, freeze: int, max_lots: int | None) -> int:
    """Maximum units per order, in whole lots. Raises PlanError(FREEZE) if that is none."""
    cap = freeze if max_lots is None else min(freeze, max_lots * lot_size)
    cap -= cap % lot_size
    if cap <= 0:
        raise PlanError("FREEZE", f"one lot of {lot_size} is above the order limit of {freeze}")
    return cap


def plan_entry(
    strategy: StrategySpec,
    resolved: Mapping[str, ResolvedLeg],
    lot_multiplier: Decimal,
    max_lots_per_order: int | None,
    pace: EntryPace | None = None,
) -> list[PlannedOrder]:
    """All entry orders of one subscriber, in sending order (group, then leg, then slice).

    Raises PlanError: LOTS_ZERO if a leg would get no lots; RATIO_CHANGED if rounding down would
    change the ratio between the strategy's legs; TOO_MANY_ORDERS if they cannot all leave at this
    ``pace`` (None: only the maximum per leg applies); FREEZE if no lot fits into an order.
    """
    groups = order_groups(strategy.legs, strategy.order_rule)
    _check_lots(strategy, resolved, lot_multiplier)
    _check_count(strategy, resolved, lot_multiplier, max_lots_per_order, groups, pace)
    orders: list[PlannedOrder] = []
    for index, leg in enumerate(strategy.legs):
        target = resolved[leg.key]
        lots = leg_lots(leg.lots, lot_multiplier)
        side = Side(leg.side)
        price = marketable_limit(
            side, last=target.reference_price, bid=target.bid, ask=target.ask, tick=target.tick_size
        )
        pieces = slices(
            lots * target.lot_size, target.lot_size, target.freeze_quantity, max_lots_per_order
        )
        orders.extend(
            PlannedOrder(
                leg_key=leg.key,
                leg_index=index,
                group=groups[index],
                slice=number,
                side=side,
                contract_id=target.contract_id,
                quantity=piece,
                price=price,
                reference_price=target.reference_price,
            )
            for number, piece in enumerate(pieces)
        )
    orders.sort(key=lambda order: (order.group, order.leg_index, order.slice))
    return orders
