"""Who may begin to enter now, where more accounts enter than one executor can follow up. Pure.

An entry with several order groups is begun with its bought legs and finished with its sold ones,
which wait for the fills. Thousands begun at once are all filled at once, and the last of them waits
for its sold legs until everybody before it has been followed up. So no more are begun than can be
followed up in good time; the others stand in line, and begin as earlier ones are done.

Only what waits for *us* is to keep anybody back. Of an account that waits for its broker nobody
knows for how long it will: it counts for :data:`PATIENCE` seconds, and no longer. And whoever
stands in line has a moment of their own at which they begin whatever the others do: no line ever
costs anybody their grace.

Times are monotonic seconds, weights are orders (:func:`weight`). A number stands for an execution.
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

#: Orders of entries under way at once in one executor: 250 accounts of four legs, a fifth of a
#: second of its work, and what keeps it busy at a broker that answers in 150 ms
#: (docs/performance.md).
WINDOW: Final = 1000
#: Seconds for which an entry that waits for its broker keeps a place.
PATIENCE: Final = 1.0
#: An account whose fills nobody tells of is followed by reading its order book, which is that many
#: times the work.
BY_BOOK: Final = 4
#: The share of what is left of the grace within which everybody in line has begun.
SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Entrant:
    """An execution that is to enter: from when on it may begin, and by when it has to, whatever
    keeps the others."""

    number: int
    weight: int
    start: float
    by: float


def weight(orders: int, *, told: bool) -> int:
    """How much work so many orders are; ``told``: their broker tells of fills by itself."""
    return orders if told else BY_BOOK * orders


def lined_up(
    entrants: Sequence[tuple[int, int, float]], *, start: float, end: float
) -> list[Entrant]:
    """Entrants of one run in their order, each ``(number, weight, last)``: evenly spread over
    the first half of the grace from ``start`` to ``end``.

    ``last`` is the latest moment at which an entry may begin so that its own pace lets all of its
    orders leave in time.
    """
    step = SHARE * max(0.0, end - start) / max(1, len(entrants))
    return [
        Entrant(number, work, start, max(start, min(start + place * step, last)))
        for place, (number, work, last) in enumerate(entrants)
    ]


class Line:
    """Who is under way, and who stands in line. Knows no clock."""

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
        """Orders of those who are under way and count."""
        return self._weight

    @property
    def under_way(self) -> Collection[int]:
        """Who has begun and counts still."""
        return self._under_way.keys()

    def has_begun(self, number: int) -> bool:
        """Whether this one was admitted, be it over by now."""
        return number in self._begun

    def is_waiting(self, number: int) -> bool:
        """Whether this one stands in line."""
        return number in self._waiting

    def join(self, entrants: Iterable[Entrant]) -> None:
        """Stand in line, ordered by the moment by which each has to begin; nobody twice."""
        for entrant in entrants:
            if entrant.number in self._waiting or entrant.number in self._begun:
                continue
            self._waiting[entrant.number] = entrant
            heapq.heappush(self._later, (entrant.start, next(self._order), entrant))

    def admit(self, now: float, is_ours: Callable[[int], bool], *, ahead: float = 0.0) -> list[int]:
        """Who begins now, in their order; those who start within ``ahead`` seconds included.

        ``is_ours`` says of one whose time at its broker is up whether it waits for us instead: then
        it keeps its place.
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
        """Nothing of this entry waits for us any more: its place is free."""
        held = self._under_way.pop(number, None)
        if held is not None:
            self._weight -= held[0]

    def leave(self, number: int) -> None:
        """Forget this one: it is over, or somebody else's."""
        self.done(number)
        self._begun.discard(number)
        self._waiting.pop(number, None)

    def is_due(self, now: float) -> bool:
        """Whether :meth:`admit` may have somebody to admit by the passing of time alone."""
        if not self._waiting:
            return False
        return any(heap and heap[0][0] <= now for heap in (self._later, self._line, self._expiring))

    def _has_room(self, more: int) -> bool:
        """Somebody alone always has: an entry may be larger than the window."""
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
    """Whether every order of an entry has left, or none will: one has failed."""
    return not any(_is_here(intent) for intent in entries) or first_failure(entries) is not None


def waits_for_us(entries: Collection[LiveIntent], now_mono: float) -> bool:
    """Whether the next orders of an entry could leave, and its broker has nothing more to say."""
    here = [intent for intent in entries if intent.state == lifecycle.PLANNED]
    return (
        bool(here)
        and all(intent.state in (lifecycle.PLANNED, lifecycle.FILLED) for intent in entries)
        and all(intent.not_before_mono <= now_mono for intent in here)
    )


def has_to_stand_in_line(entries: Collection[LiveIntent]) -> bool:
    """Whether an entry has several groups, and nothing of it was ever sent."""
    return any(intent.group for intent in entries) and all(
        intent.state == lifecycle.PLANNED and not intent.sends and not intent.unconnected
        for intent in entries
    )


def _is_here(intent: LiveIntent) -> bool:
    return intent.state == lifecycle.PLANNED or (
        intent.state == lifecycle.SENDING and not intent.sent_mono
    )
