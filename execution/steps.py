"""What :func:`execution.next_steps.next_steps` is told, and what it says. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from brokers.base import Side
from execution.alarms import Alarm
from execution.state import LiveExecution, LiveIntent

#: At so many prices a leg was offered, and did not leave: a person is told.
ATTENTION_AFTER: Final = 3


@dataclass(frozen=True, slots=True)
class Situation:
    """What the world looks like at the moment of asking.

    ``entries_blocked`` is the cause ('' when entries are allowed): KILL_SWITCH or
    CONTROL_UNREACHABLE. ``entry_due`` is set from T on, ``exit_due`` from the exit time on,
    ``session_over`` from the close of the day's session on. ``most_changes`` is how often the
    broker lets the price of one order be changed; 0: never.
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
    """One leg to close now: units, the side that closes it, and the how-manieth try it is.

    ``perhaps`` are units beyond ``quantity`` that entries may have filled of which the order book
    tells nothing: they leave if the account's positions show them.
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

    ``change`` are exits that rest and are to get another price.
    """

    miss: list[tuple[LiveIntent, str]] = field(default_factory=list)
    change: list[LiveIntent] = field(default_factory=list)
    cancel: list[LiveIntent] = field(default_factory=list)
    send: list[LiveIntent] = field(default_factory=list)
    exits: list[ExitOrder] = field(default_factory=list)
    status: str = ""
    cause: str = ""
    message: str = ""
    #: What a person has to look at, told each time that it is so.
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
    """A new status of one execution, to be told of when the row says it was ours to change."""

    execution: LiveExecution
    status: str
    cause: str = ""
    message: str = ""
    pnl: Decimal | None = None
    #: All that was traded against the execution by now, where it changed.
    closed_outside: Mapping[str, int] | None = None
