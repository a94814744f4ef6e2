"""How far a feed's clock is from ours: the median over new prices. Pure.

A price's age is only as good as the clock that stamped it. A price that is new (its time moved on
since the last answer) and yet seems minutes old was stamped by a wrong clock; one whose time does
not move is old.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Sequence
from typing import Final

#: Number of stored differences, and the number below which they say nothing yet.
KEPT: Final = 15
ENOUGH: Final = 3
#: Seconds by which a clock may differ before it is reported: exchange times have whole seconds, and
#: an entry's prices may be two seconds old.
NAMED: Final = 2.0
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def median(samples: Sequence[float]) -> float | None:
    """Seconds by which the feed's clock is behind ours (negative: ahead), None while unknown."""
    return statistics.median(samples) if len(samples) >= ENOUGH else None


def is_off(samples: Sequence[float]) -> bool:
    """Whether the feed's clock is so far from ours that the ages of its prices are unknown."""
    skew = median(samples)
    return skew is not None and abs(skew) > NAMED


def words(samples: Sequence[float]) -> str:
    """ "its clock is 3 min behind ours", or ``""`` if it agrees or is unknown."""
    skew = median(samples)
    if skew is None or abs(skew) <= NAMED:
        return ""
    number, unit = _rounded(abs(skew))
    return f"its clock is {number} {unit} {'behind' if skew > 0 else 'ahead of'} ours"


def _rounded(seconds: float) -> tuple[int, str]:
    for unit, length in (("day", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        number = round(seconds / length)
        if seconds >= 1.5 * length or (unit == "day" and number == 1):
            return number, "days" if (unit, number > 1) == ("day", True) else unit
    return round(seconds), "s"


class Skew:
    """Differences between our clock and a feed's, from answers as they arrive."""

    def __init__(self, samples: Sequence[float] = (), newest: dt.datetime | None = None) -> None:
        self.samples: list[float] = list(samples)[-KEPT:]
        self._newest = newest

    def heard(self, at: dt.datetime, now: dt.datetime) -> bool:
        """Record that the newest price of an answer was stamped ``at``; counts if that is a new
        time.

        A corrected or wrong clock shows at once: differences far from the new one are dropped.
        """
        if at == self._newest:
            return False
        first, self._newest = self._newest is None, at
        if first:
            return False  # the age of the very first one is unknown
        difference = (now - at).total_seconds()
        self.samples = [s for s in self.samples if abs(s - difference) <= _MINUTE / 2]
        self.samples = [*self.samples, difference][-KEPT:]
        return True
