"""When an endpoint counts as dead: days of failures, and many of them. Pure.

A spell of failures begins with the first try that fails, counts every one after it, and ends with
a try that succeeds, or with two days in which nothing was tried at all: what fails then is news.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

#: A spell has to last so long …
FAILING_FOR: Final = dt.timedelta(days=5)
#: … and to have so many failed tries: one event alone has ten, within three days and a bit.
FAILED_TRIES: Final = 30
#: Longer than the longest wait between two tries of one event, so that no spell is cut by a wait.
SILENCE: Final = dt.timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Spell:
    """Failures in a row: the first, the newest, and how many."""

    since: dt.datetime
    last: dt.datetime
    tries: int

    @property
    def is_death(self) -> bool:
        """Whether an endpoint with such failures is sent nothing more."""
        return self.last - self.since >= FAILING_FOR and self.tries >= FAILED_TRIES


def after_failure(before: Spell | None, now: dt.datetime) -> Spell:
    """The spell with one more failed try."""
    if before is None or now - before.last > SILENCE:
        return Spell(since=now, last=now, tries=1)
    return Spell(since=before.since, last=max(now, before.last), tries=before.tries + 1)
