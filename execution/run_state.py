"""The state of a run for the console: a label, a tone and a reason. Pure.

A run's own status changes only when its grace is over; the state shown follows from its executions
and the clock, so it is right from the entry second on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from execution import lifecycle

#: An execution still ARMED this long after the grace has been overlooked by all executors.
FORGOTTEN_AFTER: Final = dt.timedelta(seconds=30)
#: An order of unknown outcome is given up after two minutes; by then its execution must be decided.
UNDECIDED_AFTER: Final = dt.timedelta(seconds=180)
#: Exits are tried four times within half a minute, and go on.
EXIT_WITHIN: Final = dt.timedelta(seconds=180)

# Where to fix a cause: a page of the console, and its name.
WAYS_OUT: Final[Mapping[str, tuple[str, str]]] = {
    "NO_QUOTE": ("admin:brokers_feedaccount_changelist", "Feed accounts"),
    "WIDE_QUOTE": ("admin:marketplace_template_changelist", "Templates"),
    "NO_CONTRACT": ("admin:brokers_contractlistimport_changelist", "Contract lists"),
    "CONTRACT_LIST": ("admin:brokers_contractlistimport_changelist", "Contract lists"),
    "SESSION_EXPIRED": ("admin:brokers_brokeraccount_changelist", "Broker accounts"),
    "NO_CREDENTIALS": ("admin:brokers_brokeraccount_changelist", "Broker accounts"),
    "ACCOUNT_DISABLED": ("admin:brokers_brokeraccount_changelist", "Broker accounts"),
    "ACCOUNT_HELD": ("admin:subscriptions_hold_changelist", "Holds"),
    "KILL_SWITCH": ("admin:execution_killswitch_changelist", "Kill switch"),
    "GRACE_OVER": ("admin:execution_executornode_changelist", "Executors"),
}


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Executions of one run, counted by status and by cause, with their P&L.

    ``causes`` counts those that failed or were missed, ``withdrawn`` those that were withdrawn;
    ``pnl`` is in rupees. ``subscribed``: the run would have had executions, had it been entered.
    """

    by_status: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, int] = field(default_factory=dict)
    withdrawn: Mapping[str, int] = field(default_factory=dict)
    attention: int = 0
    pnl: Decimal | None = None
    subscribed: bool = False

    @property
    def total(self) -> int:
        """All executions."""
        return sum(self.by_status.values())

    @property
    def held(self) -> int:
        """Executions that hold a position."""
        return self.of(*lifecycle.HOLDING)

    @property
    def entered(self) -> int:
        """Executions that hold or held a position."""
        return self.held + self.of(lifecycle.CLOSED)

    @property
    def live(self) -> int:
        """Executions that are not over: waiting, entering, holding or exiting."""
        return self.of(*lifecycle.LIVE)

    @property
    def failed(self) -> int:
        """Executions that should have entered and did not."""
        return self.of(*lifecycle.LOST)

    @property
    def cause(self) -> str:
        """The most frequent cause of a failure or miss, else of a withdrawal; '' if none."""
        causes = self.causes or self.withdrawn
        return max(causes, key=lambda cause: (causes[cause], cause), default="")

    def of(self, *statuses: str) -> int:
        """The number of executions in any of these statuses."""
        return sum(self.by_status.get(status, 0) for status in statuses)


@dataclass(frozen=True, slots=True)
class RunTimes:
    """The instants (UTC) by which a run is judged."""

    entry_at: dt.datetime
    grace_until: dt.datetime
    exit_at: dt.datetime


@dataclass(frozen=True, slots=True)
class RunState:
    """``label`` for the console, ``tone`` ('', good, info, warn or bad), ``cause`` a code.

    ``alarm``: why a person has to look, in one sentence; '' if no person has to.
    """

    label: str
    tone: str = ""
    cause: str = ""
    alarm: str = ""


def run_state(
    status: str, cause: str, times: RunTimes, counts: RunCounts, now: dt.datetime
) -> RunState:
    """The state of a run at ``now``. ``status`` and ``cause`` are the run's own."""
    if not counts.total:
        return _without_executions(status, cause, times, counts.subscribed, now)
    stuck = _stuck(times, counts, now)
    if stuck:
        return RunState("Stuck", "bad", counts.cause, stuck)
    word, tone = _word(times, counts, now)
    lost = counts.failed
    due = counts.total - counts.of(lifecycle.WITHDRAWN)
    if lost and 2 * lost >= due:
        alarm = f"{lost} of {due} subscribers did not enter."
        return RunState(word, "bad", counts.cause, alarm)
    if lost:
        return RunState(word, "warn" if tone != "bad" else tone, counts.cause)
    return RunState(word, tone, counts.cause if word == "Withdrawn" else "")


def _without_executions(
    status: str, cause: str, times: RunTimes, subscribed: bool, now: dt.datetime
) -> RunState:
    if status == lifecycle.MISSED and not subscribed:
        return RunState("Missed, no subscribers", "", cause)
    if status == lifecycle.MISSED:
        return RunState("Missed", "bad", cause, "The run could not be entered.")
    if now < times.entry_at:
        return RunState("Armed", "info", cause)
    return RunState("No subscribers", "", cause)


def _stuck(times: RunTimes, counts: RunCounts, now: dt.datetime) -> str:
    """Why a person has to look at a run that makes no progress; '' if it does."""
    if (armed := counts.of(lifecycle.ARMED)) and now > times.grace_until + FORGOTTEN_AFTER:
        return f"{armed} of {counts.total} are still waiting although the entry is over."
    if (undecided := counts.of(lifecycle.COMMITTED)) and now > times.grace_until + UNDECIDED_AFTER:
        return f"{undecided} of {counts.total} are still entering."
    if (held := counts.held) and now > times.exit_at + EXIT_WITHIN:
        return f"{held} of {counts.total} still hold a position after the exit time."
    return ""


def _word(times: RunTimes, counts: RunCounts, now: dt.datetime) -> tuple[str, str]:
    if counts.of(lifecycle.WITHDRAWN) == counts.total:
        return "Withdrawn", "warn"
    if counts.of(lifecycle.ARMED, lifecycle.COMMITTED):
        return ("Armed" if now < times.entry_at else "Entering"), "info"
    if counts.of(lifecycle.OPEN):
        return "Entered", "good"
    if counts.of(lifecycle.EXITING):
        return "Exiting", "info"
    if counts.of(lifecycle.CLOSED):
        return "Closed", "good"
    return ("Failed" if counts.of(lifecycle.FAILED) else "Missed"), "bad"
