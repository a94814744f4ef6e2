"""One poisoned row may not keep the others from being written: halve the batch until it is alone.

PostgreSQL refuses a statement as a whole, whatever row of it is wrong. A batch that it refuses for
what is *in* it is cut in two, and each half is tried by itself, in order. One culprit among n costs
about 2 log2(n) transactions. A batch that fails because the database cannot be reached is not cut:
nothing is known of its rows then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from django.db import DataError, IntegrityError

T = TypeVar("T")
R = TypeVar("R")

#: What the database says of a row that it will never take.
REFUSALS: Final = (DataError, IntegrityError)


@dataclass(slots=True)
class Apart(Generic[T, R]):
    """Results of the parts that were written, in order, and each culprit with the database's words.

    ``results`` is what ``attempt`` returned, one for each part.
    """

    results: list[R] = field(default_factory=list)
    culprits: list[tuple[T, str]] = field(default_factory=list)


def write_apart(items: Sequence[T], attempt: Callable[[Sequence[T]], R]) -> Apart[T, R]:
    """Write ``items`` with ``attempt``, in one part where the database takes them.

    ``attempt`` writes what it is given in a transaction of its own, or raises and writes nothing.
    An empty sequence is attempted too, once: a batch may consist of its locks. Other errors than
    the database's refusals are raised as they are, after whatever parts were written before.
    """
    found: Apart[T, R] = Apart()
    parts: list[Sequence[T]] = [items]
    while parts:
        part = parts.pop()
        try:
            found.results.append(attempt(part))
        except REFUSALS as error:
            if not part:
                raise
            if len(part) == 1:
                found.culprits.append((part[0], first_line(error)))
                continue
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    return found


def first_line(error: Exception) -> str:
    """What the database said, for people: its first line."""
    return str(error).strip().split("\n")[0]
