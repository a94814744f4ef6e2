"""The number of calls per second on one account. Pure.

The exchanges require an algo's registration above ten orders per second and client (NSE/INVG/67858
B.2), and brokers refuse the eleventh. This module uses arrivals, as the broker's side recorded
them: each is later than the call was sent, by what machine and network took.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 10
SECOND: Final = dt.timedelta(seconds=1)
#: How much longer one call may be delayed on its way than another, on a busy machine. Two separate
#: paces for one account would bring sixteen calls in a tenth of a second.
JITTER: Final = dt.timedelta(seconds=0.4)


@dataclass(frozen=True)
class Crowd:
    """More calls than the limit within so many seconds."""

    calls: int
    seconds: float


def crowd(times: Sequence[dt.datetime]) -> Crowd | None:
    """The first place where more calls arrived than were allowed to be sent, or None.

    Of calls sent at ten per second the eleventh is a second or more behind the first, the
    twenty-first two seconds, and so on; between arrivals it is that time less the jitter.
    """
    came = sorted(times)
    for first, begun in enumerate(came):
        for last in range(first + MOST, len(came), MOST):
            apart = came[last] - begun
            if apart < (last - first) // MOST * SECOND - JITTER:
                return Crowd(last - first + 1, apart.total_seconds())
    return None


def busiest(times: Sequence[dt.datetime]) -> int:
    """The most calls that arrived in any second, without an allowance for jitter."""
    came = sorted(times)
    most = first = 0
    for last, at in enumerate(came):
        while at - came[first] >= SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most
