"""What one subscriber shall trade: orders from a strategy, resolved legs and a multiplier. Pure.

Quantity of a leg = floor(base lots x lot_multiplier) x the contract's lot size, sliced by
min(freeze quantity, max_lots_per_order x lot size) rounded down to whole lots (execution.md
section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from brokers.base import Side
from execution.pricing import LAST, marketable_limit
from marketplace.definition import LegSpec, StrategySpec
from subscriptions.sizing import leg_lots


class PlanError(Exception):
    """A plan cannot be made; ``cause`` names why (LOTS_ZERO, FREEZE)."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message


@dataclass(frozen=True, slots=True)
class ResolvedLeg:
    """One leg after the run's ENTRY decision: contract, dated data, and prices in rupees.

    ``last`` is the price the decision was taken on; ``basis`` says what it is (LAST, the last
    trade, or MID, the middle of the book) and ``age`` how many seconds old it was then.
    """

    leg_key: str
    contract_id: int
    label: str
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int
    last: Decimal
    bid: Decimal | None
    ask: Decimal | None
    basis: str = LAST
    age: Decimal | None = None

    @property
    def reference_price(self) -> Decimal:
        """The MODEL price of the leg: what it was worth at the decision."""
        return self.last


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
    """Cut ``quantity`` units into orders of whole lots that no limit refuses.

    PlanError(FREEZE) when not even one lot fits an order.
    """
    cap = freeze if max_lots is None else min(freeze, max_lots * lot_size)
    cap -= cap % lot_size
    if cap <= 0:
        raise PlanError("FREEZE", f"one lot of {lot_size} is above the order limit of {freeze}")
    while quantity > 0:
        piece = min(quantity, cap)
        yield piece
        quantity -= piece


def order_groups(legs: Sequence[LegSpec], order_rule: str) -> list[int]:
    """Group number of each leg: a group is sent when the one before it is filled."""
    if order_rule == "PARALLEL":
        return [0] * len(legs)
    if order_rule == "AS_LISTED":
        return list(range(len(legs)))
    has_buys = any(leg.side == Side.BUY for leg in legs)
    return [0 if leg.side == Side.BUY or not has_buys else 1 for leg in legs]


def plan_entry(
    strategy: StrategySpec,
    resolved: Mapping[str, ResolvedLeg],
    lot_multiplier: Decimal,
    max_lots_per_order: int | None,
) -> list[PlannedOrder]:
    """All entry orders of one subscriber, in sending order (group, then leg, then slice).

    PlanError(LOTS_ZERO) when a leg would get no lots.
    """
    groups = order_groups(strategy.legs, strategy.order_rule)
    orders: list[PlannedOrder] = []
    for index, leg in enumerate(strategy.legs):
        target = resolved[leg.key]
        lots = leg_lots(leg.lots, lot_multiplier)
        if lots <= 0:
            raise PlanError("LOTS_ZERO", f"{target.label}: {leg.lots} x {lot_multiplier} is 0 lots")
        side = Side(leg.side)
        price = marketable_limit(
            side, last=target.last, bid=target.bid, ask=target.ask, tick=target.tick_size
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
