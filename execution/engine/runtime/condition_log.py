"""What lasts: one line of the log when it begins, and one, with its seconds, when it is over.

A feed may be dead for an hour, and what is looked at every second would then be said 3,600 times.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import structlog

from quantleap.core import clock

log = structlog.get_logger(__name__)

#: What a spell is about: names and values that both of its lines carry.
About = tuple[tuple[str, str], ...]
#: A spell that is about nothing in particular.
EVERYTHING: Final[About] = ()


class ConditionLog:
    """ConditionLog of one kind, at most one at a time for each thing that they are about."""

    def __init__(self, level: int, began: str, over: str) -> None:
        """``began`` and ``over`` name the two lines; ``level`` is the first one's."""
        self._level, self._began, self._over = level, began, over
        self._since: dict[About, float] = {}

    def begin(self, about: About = EVERYTHING, **facts: Any) -> None:
        """It is so, now; said only where it was not so before. ``facts`` of its first moment."""
        if about in self._since:
            return
        self._since[about] = clock.monotonic()
        log.log(self._level, self._began, **dict(about), **facts)

    def end(self, about: About = EVERYTHING) -> None:
        """It is not so, now; said where it was, with the whole seconds that it lasted."""
        since = self._since.pop(about, None)
        if since is not None:
            log.info(self._over, **dict(about), seconds=round(clock.monotonic() - since))

    def end_others(self, about: Collection[About]) -> None:
        """Of all but these nobody asks any more."""
        for gone in self._since.keys() - set(about):
            self.end(gone)
