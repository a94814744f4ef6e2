"""Writes a batch in spite of a poisoned row: halves it until the bad row is alone.

PostgreSQL refuses a statement as a whole, whichever row is wrong. A batch that it refuses for its
*content* is cut in two, and each half is tried by itself, in order. One culprit among n costs about
2 log2(n) transactions. A batch that fails because the database cannot be reached is not cut: then
nothing is known about its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from django.db import DataError, IntegrityError

T = TypeVar("T")
R = TypeVar("R")

#: Errors for a row that the database will never accept.
REFUSALS: Final = (DataError, IntegrityError)


@dataclass(slots=True)
class Apart(Generic[T, R]):
    """Results of the written parts, in order, and each culprit with the database's message.

    ``results`` is what ``attempt`` returned, one for each part.
    """

    results: list[R] = field(default_factory=list)
    culprits: list[tuple[T, str]] = field(default_factory=list)


def write_apart(items: Sequence[T], attempt: Callable[[Sequence[T]], R]) -> Apart[T, R]:
    """Write ``items`` with ``attempt``, in one part if the database accepts them.

    ``attempt`` writes its items in a transaction of its own, or raises and writes nothing. An empty
    sequence is attempted too, once: a batch may consist of its locks. Errors other than
    :data:`REFUSALS` are raised unchanged; parts written before stay written.
    """
    outcome: Apart[T, R] = Apart()
    parts: list[Sequence[T]] = [items]
    while parts:
        part = parts.pop()
        try:
            outcome.results.append(attempt(part))
        except REFUSALS as error:
            if not part:
                raise
            if len(part) == 1:
                outcome.culprits.append((part[0], first_line(error)))
                continue
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    return outcome


def first_line(error: Exception) -> str:
    """The first line of the database's message."""
    return str(error).strip().split("\n")[0]
