"""How many calls a second one account was asked to take. Pure.

The exchanges ask for an algo's registration above ten orders a second and client (NSE/INVG/67858
B.2), and brokers refuse the eleventh. What is looked at here are arrivals, as the broker's side
noted them: each of them is later than the call left by what the machine and the wire took.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 10
SECOND: Final = dt.timedelta(seconds=1)
#: By how much one call may have been held up longer on its way than another, on a machine that has
#: more to do than this. Two paces of one account bring sixteen calls in a tenth of a second.
JITTER: Final = dt.timedelta(seconds=0.4)


@dataclass(frozen=True)
class Crowd:
    """More calls than may come in so many seconds."""

    calls: int
    seconds: float


def crowd(times: Sequence[dt.datetime]) -> Crowd | None:
    """Where more calls arrived than left in good order, if anywhere.

    Of calls that leave at ten a second the eleventh is a second or more behind the first, the
    twenty-first two seconds, and so on: on arrival so many seconds, less the jitter.
    """
    came = sorted(times)
    for first, begun in enumerate(came):
        for last in range(first + MOST, len(came), MOST):
            apart = came[last] - begun
            if apart < (last - first) // MOST * SECOND - JITTER:
                return Crowd(last - first + 1, apart.total_seconds())
    return None


def busiest(times: Sequence[dt.datetime]) -> int:
    """The most calls that arrived in any second, to the letter: jitter counts in full."""
    came = sorted(times)
    most = first = 0
    for last, at in enumerate(came):
        while at - came[first] >= SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most
