"""How fast one login may be asked: every window of a broker over all its calls. Pure.

A window says that at most ``limit`` of its calls may leave in any ``seconds``. What is urgent may
use a window up to its limit (less one call); what can wait leaves room for it, so that nothing ever
starves a more urgent call. The broker counts what arrives: two batches that leave a second apart
meet in one of its seconds when the first is a few milliseconds slower, so a window here is
:data:`JITTER` longer. Times are monotonic seconds.
"""

from __future__ import annotations

import enum
import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


class Call(enum.IntEnum):
    """What a call does; a window counts some of them. Numbers, because every send looks them up."""

    PLACE = 0
    CHANGE = 1
    READ = 2
    QUOTE = 3


class Urgency(enum.IntEnum):
    """What goes first. On an account: exits and cancels, entries, reads of its books; on a feed:
    what an entry asks, what the risk rules ask, what a page asks."""

    FIRST = 0
    SECOND = 1
    LAST = 2


ALL_CALLS: Final = frozenset(Call)
ORDER_CALLS: Final = frozenset({Call.PLACE, Call.CHANGE})
#: Kept free of a window for what goes before, by urgency, in percent.
RESERVED: Final = {Urgency.FIRST: 0, Urgency.SECOND: 10, Urgency.LAST: 40}
#: A window is never believed to be full for longer than this because of a refusal, in seconds:
#: nobody tells when it began.
LONGEST_HOLD: Final = 5.0
#: From this limit on one call is kept back, for one that leaves by another way, and the window is
#: longer than the broker's: an eleventh must not come of jitter on the wire.
SMALL: Final = 2
#: Seconds by which one call may be longer on its way than the next.
JITTER: Final = 0.05
_LEVELS: Final = len(Urgency)
_UNKNOWN: Final = (-1.0,) * (len(Call) * _LEVELS)

_NAMED: Final = re.compile(
    r"order rec(?:ei|ie)ved \d+ in a current (second|minute) exceeds limit (\d{1,6}) for user",
    re.IGNORECASE,
)
_SECONDS: Final = {"second": 1.0, "minute": 60.0}


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` of ``calls`` in any ``seconds``."""

    seconds: float
    limit: int
    calls: frozenset[Call] = ALL_CALLS


def named_limit(message: str) -> tuple[float, int] | None:
    """Window in seconds and limit that a refusal names, or None.

    Noren: "Invalid Input : Order Recieved 121 in a current minute exceeds Limit 120 for user".
    """
    found = _NAMED.search(message)
    return None if found is None else (_SECONDS[found[1].lower()], int(found[2]))


def room(limit: int, urgency: Urgency) -> int:
    """Calls of a window that ``urgency`` may find there, itself included."""
    usable = limit - 1 if limit > SMALL else limit
    return max(1, usable - limit * RESERVED[urgency] // 100)


def lane(call: Call, urgency: Urgency) -> int:
    """One number for a call and its urgency (:meth:`Pacer.free_from`)."""
    return call * _LEVELS + urgency


class _Log:
    """The newest calls that one window counts."""

    __slots__ = ("limit", "rooms", "seconds", "span", "times")

    def __init__(self, window: Window) -> None:
        self.seconds = window.seconds
        self.limit = 0
        self.times: deque[float] = deque()
        self.rooms: tuple[int, ...] = ()
        self.set_limit(window.limit)

    def set_limit(self, limit: int) -> None:
        self.limit = max(1, limit)
        self.span = self.seconds + (JITTER if self.limit > SMALL else 0.0)
        self.rooms = tuple(room(self.limit, urgency) for urgency in Urgency)
        self.times = deque(self.times, maxlen=self.limit)


class Pacer:
    """All windows of one login. Ask :meth:`next_slot`, wait, then :meth:`take` as it leaves.

    From when on a call may leave changes with what has left and with what the broker refuses, not
    with the time that goes by. So it is worked out beforehand, and what leaves is entered into the
    windows when somebody asks again: a thousand first orders of as many accounts leave in one
    moment, and there every window that is looked at is memory that no cache holds.
    """

    __slots__ = ("_at", "_by_call", "_call", "_checks", "_free", "_held", "_takes")

    def __init__(self, windows: Iterable[Window]) -> None:
        logs = [(_Log(window), window.calls) for window in windows]
        self._by_call: list[tuple[_Log, ...]] = [
            tuple(log for log, calls in logs if call in calls) for call in Call
        ]
        self._held = [0.0] * len(Call)
        # The newest call, which is not in the windows yet.
        self._call: Call | None = None
        self._at = 0.0
        self._prepare()

    def _prepare(self) -> None:
        """Lay out what a send looks at: calls seen, how many may be, and in what time."""
        self._checks = [
            [
                tuple((log.times, log.rooms[urgency], log.span) for log in logs)
                for urgency in Urgency
            ]
            for logs in self._by_call
        ]
        self._takes = [tuple(log.times for log in logs) for logs in self._by_call]
        self._free = list(_UNKNOWN)

    def next_slot(self, now: float, call: Call, urgency: Urgency) -> float:
        """Earliest time at or after ``now`` at which one more ``call`` may leave."""
        return max(now, self.free_from(lane(call, urgency)))

    def free_from(self, of_lane: int) -> float:
        """The same for a :func:`lane`, or a time that is over: every single send asks this."""
        if self._call is not None:
            self._enter()
        free = self._free[of_lane]
        return free if free >= 0.0 else self._work_out(of_lane)

    def _work_out(self, of_lane: int) -> float:
        call, urgency = divmod(of_lane, _LEVELS)
        free = max(0.0, self._held[call])
        for times, most, seconds in self._checks[call][urgency]:
            if len(times) >= most:
                free = max(free, times[-most] + seconds)
        self._free[of_lane] = free
        return free

    def take(self, now: float, call: Call) -> None:
        """Count one call leaving at ``now``."""
        if self._call is not None:
            self._enter()
        self._at, self._call = now, call

    def _enter(self) -> None:
        """Enter the newest call into its windows."""
        if self._call is not None:
            for times in self._takes[self._call]:
                times.append(self._at)
            self._call = None
            self._free = list(_UNKNOWN)

    def learn(self, now: float, call: Call, seconds: float, limit: int) -> None:
        """A refusal named a limit: it holds from now on, and that window is full for the moment.

        A limit that is larger than ours says that somebody else uses this login as well.
        """
        self._enter()
        for log in self._by_call[call]:
            if log.seconds == seconds and limit < log.limit:
                log.set_limit(limit)
        self._prepare()
        self.hold(call, now + min(seconds, LONGEST_HOLD))

    def refused(self, now: float, call: Call, message: str = "", wait: float = 1.0) -> None:
        """The broker said that this was one call too many; ``wait`` where it names no window."""
        named = named_limit(message)
        if named is not None:
            self.learn(now, call, *named)
        else:
            self.hold(call, now + wait)

    def held_until(self, call: Call) -> float:
        """When the hold on ``call`` ends; the past when there is none."""
        return self._held[call]

    def hold(self, call: Call, until: float) -> None:
        """Nothing that shares a window with ``call`` leaves before ``until``."""
        mine = self._by_call[call]
        for other in Call:
            logs = self._by_call[other]
            if other is call or any(log in mine for log in logs):
                self._held[other] = max(self._held[other], until)
        self._free = list(_UNKNOWN)


def last_entry_leaves(
    windows: Iterable[Window], groups: Iterable[int], change: float, limit: float
) -> float:
    """Seconds after the first entry order at which the last one may leave; beyond ``limit``: inf.

    ``groups`` are numbers of orders; each group begins ``change`` seconds after the one before.
    """
    pacer, now = Pacer(windows), 0.0
    for number, count in enumerate(groups):
        now += change if number else 0.0
        for _ in range(count):
            now = pacer.next_slot(now, Call.PLACE, Urgency.SECOND)
            if now > limit:
                return math.inf
            pacer.take(now, Call.PLACE)
    return now
