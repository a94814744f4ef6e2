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


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What the broker says of one contract, in units; None where it did not answer.

    ``positions`` is the net of its list of positions, ``book`` the sum of all fills in its order
    book, other people's orders included. ``settled``: the positions have said so for a while, and
    nothing of ours filled in that time.
    """

    positions: int | None = None
    book: int | None = None
    settled: bool = False


def believed_net(ours: int, witnesses: Witnesses) -> int | None:
    """The broker's net by which an exit is shared out; None: wait, and look again.

    ``ours`` is what our open executions track. An order that somebody else placed stands in the
    book and is believed at once. A difference that only the positions show may be their delay
    behind the fills, so it is believed when it lasts: seen were positions three seconds late, an
    unwinding that read "nothing is open", and one naked short for every customer. A conversion to
    another product shows in no order and lasts. Without any witness nobody knows: a customer may
    have squared off a moment ago.
    """
    positions, book = witnesses.positions, witnesses.book
    if book is not None and book != ours:
        return book
    if positions is None or positions == ours:
        return ours if book is not None or positions is not None else None
    return positions if witnesses.settled else None
