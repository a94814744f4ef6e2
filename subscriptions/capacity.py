"""Whether all orders of an entry can be sent within its grace period, at the account's pace. Pure.

An entry that is filled by half is worse than none: what has been bought by the end of the grace
period is unwound. A multiplier that makes more orders than the broker accepts in that time is
therefore refused at subscribing, reported when a new version is published, and refused again when
the entry is planned.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.pace import Window, last_entry_leaves
from marketplace.definition import Definition, StrategySpec
from marketplace.leg_order import order_groups
from quantleap.core.decimals import trimmed
from subscriptions.errors import TooManyOrders
from subscriptions.limits import MAX_LOT_MULTIPLIER, MIN_LOT_MULTIPLIER
from subscriptions.sizing import changed_ratio, leg_lots

#: Seconds of the grace period reserved for sending the last order to the broker.
RESERVE: Final = 1.0
#: Seconds from the last order of a group to the first of the next: its fills must be booked first.
GROUP_CHANGE: Final = 1.0
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class EntryPace:
    """How fast an account may send orders (its broker's windows), and for how many seconds."""

    windows: tuple[Window, ...]
    seconds: float

    def fits(self, orders: Sequence[int]) -> bool:
        """Whether ``orders``, counted by group, can all be sent in time if nothing goes wrong."""
        limit = self.seconds - RESERVE
        return last_entry_leaves(self.windows, orders, GROUP_CHANGE, limit) <= limit


def orders_by_group(
    strategy: StrategySpec, multiplier: Decimal, max_lots: int | None, lots_per_order: int | None
) -> list[int]:
    """Number of orders in a subscriber's entry, by order group.

    ``max_lots`` is the subscriber's own limit per order, ``lots_per_order`` the exchange's, both in
    lots. None: no limit, or not known yet.
    """
    caps = [cap for cap in (max_lots, lots_per_order) if cap]
    groups = order_groups(strategy.legs, strategy.order_rule)
    counts = [0] * (max(groups, default=-1) + 1)
    for leg, group in zip(strategy.legs, groups, strict=True):
        lots = leg_lots(leg.lots, multiplier)
        counts[group] += -(-lots // min(caps)) if caps else 1
    return counts


def check_pace(
    definition: Definition,
    multiplier: Decimal,
    max_lots: int | None,
    *,
    pace: EntryPace,
    lots_per_order: Mapping[str, int],
) -> None:
    """Raise TooManyOrders (400 on ``lot_multiplier``) with the largest multiplier that is allowed.

    ``lots_per_order`` is the exchange's limit in lots by underlying; a missing one is not known
    yet.
    """
    slow = list(_too_slow(definition, multiplier, max_lots, pace, lots_per_order))
    if not slow:
        return
    count = max(slow)
    most = _largest(definition, multiplier, max_lots, pace, lots_per_order)
    words = (
        f"Makes {count} orders, and so many cannot leave within the entry's {pace.seconds:g} "
        "seconds at this broker's pace. "
    )
    words += f"At most {trimmed(most)}" if most else "No multiplier is small enough"
    words += "." if max_lots is None else f" with max_lots_per_order {max_lots}."
    raise TooManyOrders(f"lot_multiplier: {words}", details={"lot_multiplier": words})


def _too_slow(
    definition: Definition,
    multiplier: Decimal,
    max_lots: int | None,
    pace: EntryPace,
    lots_per_order: Mapping[str, int],
) -> Iterator[int]:
    for strategy in definition.strategies:
        together = [
            orders_by_group(other, multiplier, max_lots, lots_per_order.get(other.underlying))
            for other in definition.strategies
            if _enter_together(strategy, other)
        ]
        orders = [sum(counts) for counts in itertools.zip_longest(*together, fillvalue=0)]
        if not pace.fits(orders):
            yield sum(orders)


def _enter_together(strategy: StrategySpec, other: StrategySpec) -> bool:
    """Whether two strategies share the account's pace: both enter in one second of some day."""
    days = set(strategy.weekdays) & set(other.weekdays)
    return strategy.entry_time == other.entry_time and bool(
        days or not strategy.weekdays or not other.weekdays
    )


def _largest(
    definition: Definition,
    multiplier: Decimal,
    max_lots: int | None,
    pace: EntryPace,
    lots_per_order: Mapping[str, int],
) -> Decimal | None:
    """The largest multiplier below ``multiplier`` that fits and keeps every ratio, or None."""

    def fits(cents: int) -> bool:
        tried = cents * _CENT
        return not any(_too_slow(definition, tried, max_lots, pace, lots_per_order))

    low, high = 0, int(min(multiplier, MAX_LOT_MULTIPLIER) / _CENT)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    # A smaller multiplier never makes more orders, and a whole one keeps every ratio, so the answer
    # is at most a hundred cents away.
    for cents in range(low, max(0, low - 101), -1):
        tried = cents * _CENT
        if tried >= MIN_LOT_MULTIPLIER and _keeps_ratios(definition, tried):
            return tried
    return None


def _keeps_ratios(definition: Definition, multiplier: Decimal) -> bool:
    return all(
        changed_ratio(strategy.legs, multiplier) is None
        and all(leg_lots(leg.lots, multiplier) > 0 for leg in strategy.legs)
        for strategy in definition.strategies
    )
