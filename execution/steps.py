"""Input and result of :func:`execution.next_steps.next_steps`. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from brokers.base import Side
from execution.alarms import Alarm
from execution.state import LiveExecution, LiveIntent

#: After this many prices without closing the leg, an alarm is raised.
ATTENTION_AFTER: Final = 3


@dataclass(frozen=True, slots=True)
class Situation:
    """Clock, kill switch and broker limits at the moment of evaluation.

    ``entries_blocked`` is the cause ('' if entries are allowed): KILL_SWITCH or
    CONTROL_UNREACHABLE. ``entry_due`` is set from T on, ``exit_due`` from the exit time on,
    ``session_over`` from the close of the day's session on. ``most_changes`` is how many price
    changes the broker allows per order; 0: none.
    """

    now_mono: float
    grace_over: bool
    exit_due: bool
    entries_blocked: str = ""
    entry_due: bool = True
    session_over: bool = False
    most_changes: int = 0


@dataclass(frozen=True, slots=True)
class ExitOrder:
    """One leg to close now: units, the side that closes it, and the number of the try.

    ``perhaps`` are units beyond ``quantity`` that entries may have filled without a report in the
    order book: they are closed if the account's positions show them.
    """

    leg_key: str
    side: Side
    quantity: int
    purpose: str
    attempt_group: int
    reason: str
    perhaps: int = 0


@dataclass(slots=True)
class Steps:
    """Everything to do for one execution, in the order: miss, change, cancel, send, exit, status.

    ``change`` holds resting exits that are to get another price.
    """

    miss: list[tuple[LiveIntent, str]] = field(default_factory=list)
    change: list[LiveIntent] = field(default_factory=list)
    cancel: list[LiveIntent] = field(default_factory=list)
    send: list[LiveIntent] = field(default_factory=list)
    exits: list[ExitOrder] = field(default_factory=list)
    status: str = ""
    cause: str = ""
    message: str = ""
    #: What a person has to look at, repeated in every round while it is so.
    alarms: list[Alarm] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.miss
            or self.change
            or self.cancel
            or self.send
            or self.exits
            or self.status
            or self.alarms
        )


@dataclass(slots=True)
class StatusChange:
    """A new status of one execution, reported only if our conditional update changed the row."""

    execution: LiveExecution
    status: str
    cause: str = ""
    message: str = ""
    pnl: Decimal | None = None
    #: The new total of what somebody else closed, signed units by leg; None: unchanged.
    closed_outside: Mapping[str, int] | None = None
