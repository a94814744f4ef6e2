"""The fence of an executor: whether its leases may have a new owner by now (docs/adr/0009, 0040).

The age of a heartbeat depends on the clock, and each clock stops in some kind of sleep: the
monotonic one while the machine is suspended, all but the wall clock in some pauses of a virtual
machine. So the oldest age counts. A wall clock that was set forward closes the fence until the next
heartbeat, a second later; one that was set back has no effect.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from quantleap.core import clock

LONG_AGO: Final = -1e9


class Moment(NamedTuple):
    """One reading of the three clocks, in seconds."""

    mono: float
    boot: float
    wall: float


def moment() -> Moment:
    """All three clocks, now."""
    return Moment(clock.monotonic(), clock.boottime(), clock.real_timestamp())


class Fence:
    """Open for ``after`` seconds from the moment *before* the last successful heartbeat."""

    __slots__ = ("_after", "last")

    def __init__(self, after: float) -> None:
        self._after = after
        self.last = Moment(LONG_AGO, LONG_AGO, LONG_AGO)

    def renewed(self, before: Moment) -> None:
        """Note a successful heartbeat whose statement began after ``before``, the earliest moment
        from which the database can count the lease."""
        self.last = before

    def is_young(self, now_mono: float) -> bool:
        """:meth:`is_open` by the monotonic clock alone, if all three were read milliseconds ago:
        in a burst of a thousand orders, the two other clocks would cost a twentieth of its time."""
        return now_mono - self.last.mono <= self._after

    def is_open(self, now_mono: float) -> bool:
        """Whether our leases are certainly still ours; ``now_mono`` was read a moment ago."""
        last, after = self.last, self._after
        return (
            now_mono - last.mono <= after
            and clock.boottime() - last.boot <= after
            and clock.real_timestamp() - last.wall <= after
        )
