"""When an endpoint counts as dead: many failures over several days. Pure.

A series of failures begins with the first failed try and counts every one after it. It ends with a
successful try, or with two days without any try: a failure after that begins a new series.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

#: The minimum duration of a series …
FAILING_FOR: Final = dt.timedelta(days=5)
#: … and its minimum number of failed tries: one event alone has ten, within little more than three
#: days.
FAILED_TRIES: Final = 30
#: Longer than the longest wait between two tries of one event, so that no wait ends a series.
SILENCE: Final = dt.timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Spell:
    """Consecutive failures: the first, the latest, and their number."""

    since: dt.datetime
    last: dt.datetime
    tries: int

    @property
    def is_death(self) -> bool:
        """Whether an endpoint with these failures gets no more deliveries."""
        return self.last - self.since >= FAILING_FOR and self.tries >= FAILED_TRIES


def after_failure(before: Spell | None, now: dt.datetime) -> Spell:
    """The series with one more failed try."""
    if before is None or now - before.last > SILENCE:
        return Spell(since=now, last=now, tries=1)
    return Spell(since=before.since, last=max(now, before.last), tries=before.tries + 1)
