"""How fast one login may be called: every rate window of a broker over all its calls. Pure.

A window allows at most ``limit`` of its calls in any ``seconds``. Urgent calls may use a window up
to its limit (less one call); calls that can wait leave room for them, so that nothing ever starves
a more urgent call. The broker counts arrivals: two batches that leave a second apart can arrive
within one of its seconds if the first is a few milliseconds slower, so a window here is
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
    """The kind of a call; a window counts some kinds. Numbers, because every send looks them up."""

    PLACE = 0
    CHANGE = 1
    READ = 2
    QUOTE = 3


class Urgency(enum.IntEnum):
    """The order of priority. For an account: exits and cancels, entries, reads of its books; for a
    feed: requests of entries, of risk rules, of pages."""

    FIRST = 0
    SECOND = 1
    LAST = 2


ALL_CALLS: Final = frozenset(Call)
ORDER_CALLS: Final = frozenset({Call.PLACE, Call.CHANGE})
#: Share of a window, in percent, that is kept free for more urgent calls, by urgency.
RESERVED: Final = {Urgency.FIRST: 0, Urgency.SECOND: 10, Urgency.LAST: 40}
#: Seconds for which a refusal makes a window count as full at most, because nobody knows when it
#: began.
LONGEST_HOLD: Final = 5.0
#: From this limit on, one call is kept back for one that leaves by another path, and the window is
#: longer than the broker's: jitter on the wire must not cause an eleventh call.
SMALL: Final = 2
#: Seconds by which one call's transit may be longer than the next one's.
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
    """Window in seconds and limit named in a refusal, or None.

    Noren: "Invalid Input : Order Recieved 121 in a current minute exceeds Limit 120 for user".
    """
    match = _NAMED.search(message)
    return None if match is None else (_SECONDS[match[1].lower()], int(match[2]))


def room(limit: int, urgency: Urgency) -> int:
    """Calls of a window that ``urgency`` may use, itself included."""
    usable = limit - 1 if limit > SMALL else limit
    return max(1, usable - limit * RESERVED[urgency] // 100)


def lane(call: Call, urgency: Urgency) -> int:
    """One number for a call and its urgency (:meth:`Pacer.free_from`)."""
    return call * _LEVELS + urgency


class _Log:
    """The newest calls counted by one window."""

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
    """All windows of one login. Call :meth:`next_slot`, wait, then :meth:`take` as the call leaves.

    The earliest time of a call changes with what has left and what the broker refuses, not with the
    passing time. So it is computed beforehand, and a call that has left is entered into the windows
    at the next question: a thousand first orders of as many accounts leave at one moment, and every
    window that is touched then is memory outside any cache.
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
        """Prepare what a send looks at: counted calls, their limit, and the time window."""
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
        """The same for a :func:`lane`, or a time in the past: every single send calls this."""
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
        """A refusal named a limit: it applies from now on, and that window is full for the moment.

        A limit larger than ours means that somebody else uses this login as well.
        """
        self._enter()
        for log in self._by_call[call]:
            if log.seconds == seconds and limit < log.limit:
                log.set_limit(limit)
        self._prepare()
        self.hold(call, now + min(seconds, LONGEST_HOLD))

    def refused(self, now: float, call: Call, message: str = "", wait: float = 1.0) -> None:
        """The broker refused this call as one too many; ``wait`` applies if it names no window."""
        named = named_limit(message)
        if named is not None:
            self.learn(now, call, *named)
        else:
            self.hold(call, now + wait)

    def held_until(self, call: Call) -> float:
        """When the hold on ``call`` ends; a time in the past if there is none."""
        return self._held[call]

    def hold(self, call: Call, until: float) -> None:
        """Let nothing that shares a window with ``call`` leave before ``until``."""
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
