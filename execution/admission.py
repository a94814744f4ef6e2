"""Which entries may start when one executor has more than it can follow up at once. Pure.

An entry with several order groups sends its bought legs first; its sold legs wait for their fills.
If thousands start at once, all their bought legs fill at once, and the last entry waits for its
sold legs until all others have been followed up. So the executor starts only as many entries as it
can follow up in time; the others queue, and start as earlier ones are done.

Only an entry that waits for *us* should delay others. How long an entry waits for its broker is
unknown, so it counts for at most :data:`PATIENCE` seconds. Each queued entry also has a latest
start, at which it starts whatever the others do: queueing never costs an entry its grace period.

Times are monotonic seconds, weights are in orders (:func:`weight`). An int identifies an execution.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from execution import lifecycle
from execution.state import LiveIntent
from execution.withdrawals import first_failure

#: Most orders of entries under way at once in one executor: 250 accounts of four legs, a fifth of a
#: second of its work, and enough to keep it busy at a broker that answers in 150 ms
#: (docs/performance.md).
WINDOW: Final = 1000
#: Seconds for which an entry that waits for its broker occupies the window.
PATIENCE: Final = 1.0
#: Weight factor of an account without order updates: it is followed by reading its order book,
#: which is that many times the work.
BY_BOOK: Final = 4
#: The share of the remaining grace within which every queued entry has started.
SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Entrant:
    """An execution that is to enter: its earliest start, and the moment (``by``) at which it
    starts whether or not the window has room."""

    number: int
    weight: int
    start: float
    by: float


def weight(orders: int, *, has_updates: bool) -> int:
    """The work of following up ``orders``; ``has_updates``: their broker pushes order updates."""
    return orders if has_updates else BY_BOOK * orders


def lined_up(
    entrants: Sequence[tuple[int, int, float]], *, start: float, end: float
) -> list[Entrant]:
    """The entrants of one run in the given order, each given as ``(number, weight, last)``. Their
    latest starts are spread evenly over the first half of the grace from ``start`` to ``end``.

    ``last`` is the latest moment at which an entry may start so that its account's order rate
    still lets all of its orders leave in time.
    """
    step = SHARE * max(0.0, end - start) / max(1, len(entrants))
    return [
        Entrant(number, work, start, max(start, min(start + place * step, last)))
        for place, (number, work, last) in enumerate(entrants)
    ]


class Line:
    """The entries under way and those in the queue. Reads no clock."""

    def __init__(self, window: int = WINDOW, patience: float = PATIENCE) -> None:
        self._window = window
        self._patience = patience
        self._under_way: dict[int, tuple[int, float]] = {}
        self._weight = 0
        self._expiring: list[tuple[float, int]] = []
        self._begun: set[int] = set()
        self._waiting: dict[int, Entrant] = {}
        self._order = itertools.count()
        self._later: list[tuple[float, int, Entrant]] = []
        self._line: list[tuple[float, int, Entrant]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def weight(self) -> int:
        """Total weight of the entries that occupy the window."""
        return self._weight

    @property
    def under_way(self) -> Collection[int]:
        """The entries that have started and still occupy the window."""
        return self._under_way.keys()

    def has_begun(self, number: int) -> bool:
        """Whether this execution was admitted, even if it is over by now."""
        return number in self._begun

    def is_waiting(self, number: int) -> bool:
        """Whether this execution is in the queue."""
        return number in self._waiting

    def join(self, entrants: Iterable[Entrant]) -> None:
        """Queue ``entrants``, ordered by latest start; skip those that are queued or have begun."""
        for entrant in entrants:
            if entrant.number in self._waiting or entrant.number in self._begun:
                continue
            self._waiting[entrant.number] = entrant
            heapq.heappush(self._later, (entrant.start, next(self._order), entrant))

    def admit(self, now: float, is_ours: Callable[[int], bool], *, ahead: float = 0.0) -> list[int]:
        """Start the entries that may start by ``now`` + ``ahead`` seconds; return them in order.

        ``is_ours`` is called for an entry whose :data:`PATIENCE` is over; if it waits for us
        instead of its broker, it keeps its place in the window.
        """
        self._expire(now, is_ours)
        while self._later and self._later[0][0] <= now + ahead:
            _, place, entrant = heapq.heappop(self._later)
            heapq.heappush(self._line, (entrant.by, place, entrant))
        begun = []
        while self._line:
            by, _, entrant = self._line[0]
            if self._waiting.get(entrant.number) is entrant:
                if by > now and not self._has_room(entrant.weight):
                    break
                self._begin(entrant, now)
                begun.append(entrant.number)
            heapq.heappop(self._line)
        return begun

    def done(self, number: int) -> None:
        """Free the place of an entry of which nothing waits for us any more."""
        held = self._under_way.pop(number, None)
        if held is not None:
            self._weight -= held[0]

    def leave(self, number: int) -> None:
        """Forget an execution that is over or now belongs to another executor."""
        self.done(number)
        self._begun.discard(number)
        self._waiting.pop(number, None)

    def is_due(self, now: float) -> bool:
        """Whether the passing of time alone may let :meth:`admit` start an entry."""
        if not self._waiting:
            return False
        return any(heap and heap[0][0] <= now for heap in (self._later, self._line, self._expiring))

    def _has_room(self, more: int) -> bool:
        """An empty window has room for any entry: one entry may be larger than the window."""
        return not self._weight or self._weight + more <= self._window

    def _begin(self, entrant: Entrant, now: float) -> None:
        del self._waiting[entrant.number]
        self._begun.add(entrant.number)
        self._weight += entrant.weight
        self._keep(entrant.number, entrant.weight, max(now, entrant.start) + self._patience)

    def _keep(self, number: int, work: int, until: float) -> None:
        self._under_way[number] = work, until
        heapq.heappush(self._expiring, (until, number))

    def _expire(self, now: float, is_ours: Callable[[int], bool]) -> None:
        while self._expiring and self._expiring[0][0] <= now:
            until, number = heapq.heappop(self._expiring)
            held = self._under_way.get(number)
            if held is None or held[1] != until:
                continue  # done meanwhile
            if is_ours(number):
                self._keep(number, held[0], now + self._patience)
            else:
                self.done(number)


def is_followed_up(entries: Collection[LiveIntent]) -> bool:
    """Whether every order of an entry has left, or no more will because one has failed."""
    return not any(_is_here(intent) for intent in entries) or first_failure(entries) is not None


def waits_for_us(entries: Collection[LiveIntent], now_mono: float) -> bool:
    """Whether the next orders of an entry could leave, and no answer of its broker is pending."""
    planned = [intent for intent in entries if intent.state == lifecycle.PLANNED]
    return (
        bool(planned)
        and all(intent.state in (lifecycle.PLANNED, lifecycle.FILLED) for intent in entries)
        and all(intent.not_before_mono <= now_mono for intent in planned)
    )


def has_to_stand_in_line(entries: Collection[LiveIntent]) -> bool:
    """Whether an entry has several order groups, none of which was ever sent."""
    return any(intent.group for intent in entries) and all(
        intent.state == lifecycle.PLANNED and not intent.sends and not intent.unconnected
        for intent in entries
    )


def _is_here(intent: LiveIntent) -> bool:
    return intent.state == lifecycle.PLANNED or (
        intent.state == lifecycle.SENDING and not intent.sent_mono
    )
