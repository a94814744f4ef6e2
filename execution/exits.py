"""How much may be closed (execution.md I5). Pure.

``foreign = broker net - sum of what all our open executions track``. Only a foreign amount that
*reduces* a position reduces its exit: the customer closed something by hand, or the broker's risk
desk did. Two of our own executions, one long and one short in a contract, net to 0 at the broker
and both must still be able to exit. No exit ever opens a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tracked:
    """What one leg of one execution holds: units, positive long, negative short."""

    key: int
    quantity: int


def foreign_quantity(positions: Sequence[Tracked], broker_net: int) -> int:
    """Units at the broker that are not ours (signed)."""
    return broker_net - sum(position.quantity for position in positions)


def exit_quantities(positions: Sequence[Tracked], broker_net: int) -> dict[int, int]:
    """Units that each position may close, all of them together (never more than it holds).

    A foreign amount against a direction is taken from that direction's positions in ascending key
    order: the oldest execution is taken to be the one that was closed by hand.
    """
    foreign = foreign_quantity(positions, broker_net)
    remaining = abs(foreign)
    allowed: dict[int, int] = {}
    for position in sorted(positions, key=lambda item: item.key):
        size = abs(position.quantity)
        against = (foreign < 0 < position.quantity) or (position.quantity < 0 < foreign)
        if against and remaining:
            taken = min(size, remaining)
            remaining -= taken
            size -= taken
        allowed[position.key] = size
    return allowed
