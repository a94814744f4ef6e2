"""From a requested exit and its grant to the units that are ordered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from execution.alarms import CLOSED_OUTSIDE
from execution.exit_limits import Grant
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder


@dataclass(frozen=True, slots=True)
class Closing:
    """``units`` to close now; ``supposed``: those of them that only the positions showed;
    ``outside``: units that somebody else has closed, which leave our books and raise an alarm."""

    units: int
    supposed: int
    outside: int


def to_close(order: ExitOrder, grant: Grant) -> Closing | None:
    """What to do about an exit; None: nothing now, it is requested again later."""
    outside = min(order.quantity, grant.outside)
    known = order.quantity - outside
    units = min(known + order.perhaps, grant.units)
    if not units and not outside:
        return None
    return Closing(units, max(0, units - known), outside)


def mark_granted(intents: Iterable[LiveIntent], closing: Closing, now_mono: float) -> None:
    """Note on the slices of an exit when it was granted, and which units are supposed."""
    supposed = closing.supposed
    for intent in intents:
        intent.granted_mono = now_mono
        intent.supposed = min(supposed, intent.quantity)
        supposed -= intent.supposed


def note_outside(execution: LiveExecution, closed: Mapping[str, int]) -> None:
    """Record what somebody else has closed (``closed``: signed units by leg, the full total)."""
    execution.closed_outside = dict(closed)
    execution.cause = CLOSED_OUTSIDE


def with_outside(closed: Mapping[str, int], order: ExitOrder, units: int) -> dict[str, int]:
    """``closed`` (signed units by leg) plus ``units`` of the leg that ``order`` was to close."""
    return {**closed, order.leg_key: closed.get(order.leg_key, 0) + units * order.side.sign}
