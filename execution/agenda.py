"""The moments at which time alone may change an execution's next steps. Pure.

:mod:`execution.next_steps` is evaluated again when something happened to an execution, and at the
moments computed here; in between its result cannot change. Times are monotonic seconds.
"""

from __future__ import annotations

import datetime as dt
import heapq
import math
from collections.abc import Iterator

from execution.backoff import CANCEL_AGAIN, cancel_backoff
from execution.next_steps import STUCK_AFTER
from execution.price_changes import ANSWERED_WITHIN, HEARD_WITHIN
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.unreported import HANGS_AFTER, SILENT_AFTER
from execution.withdrawals import CANCEL_PATIENCE

#: What the next steps of all executions of a run share: when it changes, all are evaluated again.
Phase = tuple[object, ...]


def phase(run: LiveRun, now: dt.datetime, entries_blocked: str) -> Phase:
    """Everything about a run, its clock and its kill switch that an execution's next step depends
    on. ``entries_blocked`` as in :class:`execution.steps.Situation`."""
    return (
        now >= run.entry_at,
        now > run.grace_until,
        now >= run.exit_at,
        now.timestamp() >= run.closes_unix,
        run.run_exit,
        tuple(run.leg_exits.items()),
        entries_blocked,
    )


def next_moment(execution: LiveExecution, now_mono: float) -> float:
    """The earliest moment from ``now_mono`` on at which a wait of an order ends; inf: none."""
    soonest = math.inf
    for intent in execution.intents:
        for moment in _moments(intent):
            if now_mono <= moment < soonest:
                soonest = moment
    return soonest


def _moments(intent: LiveIntent) -> Iterator[float]:
    # Also of a final order: its leg may be tried again then.
    yield intent.not_before_mono
    if intent.is_final:
        return
    yield intent.cancel_after_mono
    yield max(intent.seen_mono, intent.sent_mono) + SILENT_AFTER
    if intent.cancel_sent_mono:
        yield (intent.round_mono or intent.cancel_sent_mono) + cancel_backoff(intent.cancels)
        yield intent.cancel_sent_mono + CANCEL_AGAIN
    if intent.cancel_since_mono:
        yield intent.cancel_since_mono + CANCEL_PATIENCE
    if intent.change_mono:
        yield intent.change_mono + HEARD_WITHIN
        yield intent.change_mono + ANSWERED_WITHIN
    if intent.unknown_since_mono:
        for seconds in (SILENT_AFTER, HANGS_AFTER, STUCK_AFTER):
            yield intent.unknown_since_mono + seconds


class Agenda:
    """Execution numbers by the moment at which each is evaluated again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._at: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._at)

    def put(self, number: int, at: float) -> None:
        """Schedule ``number`` at ``at``; the earliest scheduled moment counts."""
        if at < self._at.get(number, math.inf):
            self._at[number] = at
            heapq.heappush(self._heap, (at, number))

    def due(self, now: float) -> list[int]:
        """Remove and return the numbers whose moment has come by ``now``."""
        numbers = []
        while self._heap and self._heap[0][0] <= now:
            at, number = heapq.heappop(self._heap)
            if self._at.get(number) == at:
                del self._at[number]
                numbers.append(number)
        return numbers
