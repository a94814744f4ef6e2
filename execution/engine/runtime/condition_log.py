"""Logs a lasting condition: one line when it begins, and one, with its seconds, when it ends.

A feed may be dead for an hour; a check every second would then log 3,600 lines.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import structlog

from quantleap.core import clock

log = structlog.get_logger(__name__)

#: What a condition is about: names and values that both of its lines carry.
About = tuple[tuple[str, str], ...]
#: A condition about nothing in particular.
EVERYTHING: Final[About] = ()


class ConditionLog:
    """Conditions of one kind, at most one at a time for each subject."""

    def __init__(self, level: int, began: str, over: str) -> None:
        """``began`` and ``over`` name the two lines; ``level`` is the first one's."""
        self._level, self._began, self._over = level, began, over
        self._since: dict[About, float] = {}

    def begin(self, about: About = EVERYTHING, **facts: Any) -> None:
        """Note that the condition holds; log it, with ``facts``, only if it did not hold before."""
        if about in self._since:
            return
        self._since[about] = clock.monotonic()
        log.log(self._level, self._began, **dict(about), **facts)

    def end(self, about: About = EVERYTHING) -> None:
        """Note that the condition does not hold; if it did before, log the seconds it lasted."""
        since = self._since.pop(about, None)
        if since is not None:
            log.info(self._over, **dict(about), seconds=round(clock.monotonic() - since))

    def end_others(self, about: Collection[About]) -> None:
        """End all conditions except those about ``about``."""
        for other in self._since.keys() - set(about):
            self.end(other)
