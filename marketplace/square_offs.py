"""Earliest entry and latest exit of a strategy inside a session. Pure.

A broker closes intraday positions automatically some minutes before the session ends, at its own
price and for a fee. Our exit comes before that, with time for retries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketplace.calendar import Hours

#: An entry is decided two seconds before its time, on prices that are at most two seconds old, and
#: options have no pre-open: before that nothing in an option chain has a price of the day.
FIRST_PRICES: Final = dt.timedelta(seconds=15)
#: What an exit needs before a broker's cut-off, or the close: a few tries with their back-off.
LAST_TRIES: Final = dt.timedelta(minutes=2)
_ANY_DAY: Final = dt.date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class SquareOff:
    """From ``effective_from`` on, a broker closes positions ``at`` a time (IST), or
    ``before_close``."""

    broker: str
    effective_from: dt.date
    at: dt.time
    before_close: dt.timedelta
    source: str

    def on(self, hours: Hours) -> dt.time:
        """The cut-off (IST) in a session with these hours, including a short one or one in the
        evening."""
        by_close = _moved(hours.closes, -self.before_close)
        return min(self.at, by_close) if self.at > hours.opens else by_close


@dataclass(frozen=True, slots=True)
class Limits:
    """Earliest entry and latest exit (IST) in a session, each with its reason as text."""

    earliest: dt.time
    latest: dt.time
    why_earliest: str
    why_latest: str


def parse_square_offs(data: Mapping[str, Any]) -> tuple[SquareOff, ...]:
    """Rows of ``data/square_offs.json``; KeyError, TypeError or ValueError for another shape."""
    return tuple(
        SquareOff(
            broker=row["broker"],
            effective_from=dt.date.fromisoformat(row["effective_from"]),
            at=dt.time.fromisoformat(row["at"]),
            before_close=dt.timedelta(minutes=row["minutes_before_close"]),
            source=row["source"],
        )
        for row in data["square_offs"]
    )


def in_force(rows: Iterable[SquareOff], day: dt.date) -> tuple[SquareOff, ...]:
    """The newest row of every broker on ``day``."""
    newest: dict[str, SquareOff] = {}
    for row in sorted(rows, key=lambda row: row.effective_from):
        if row.effective_from <= day:
            newest[row.broker] = row
    return tuple(newest.values())


def limits(hours: Hours, square_offs: Sequence[SquareOff]) -> Limits:
    """When a strategy may enter and exit in a session with these hours.

    ``square_offs`` are those in force that day.
    """
    cut_offs = [(square_off.on(hours), square_off.broker) for square_off in square_offs]
    closing, broker = min(cut_offs, default=(hours.closes, ""))
    why = f"the session closes at {hours.closes:%H:%M}"
    if broker and closing < hours.closes:
        why = f"{broker} closes intraday positions from {closing:%H:%M} on"
    return Limits(
        earliest=_moved(hours.opens, FIRST_PRICES),
        latest=_moved(min(closing, hours.closes), -LAST_TRIES),
        why_earliest=f"the session opens at {hours.opens:%H:%M}, and first prices must arrive",
        why_latest=f"{why}, and an exit may need a few tries",
    )


def _moved(at: dt.time, by: dt.timedelta) -> dt.time:
    return (dt.datetime.combine(_ANY_DAY, at) + by).time()
