"""How far an executor's clock may differ from the database's. Pure.

Executors decide by their own clocks: when it is T, how old a quote is, whether the grace is over.
Two clocks that differ by seconds cannot both be right, and the database's is one that all can read.
The offset is measured and reported at every heartbeat, and never corrected for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Milliseconds: beyond this offset an executor takes no shard and decides no entry.
MOST_OFF_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Reading:
    """Our clock minus the database's, both without a movable origin, and the error bound; in ms."""

    offset_ms: int
    error_ms: int

    @property
    def is_off(self) -> bool:
        """Whether our clock is provably too far off: a slow answer alone proves nothing."""
        return is_off(self.offset_ms, self.error_ms)


def is_off(offset_ms: int | None, error_ms: int | None) -> bool:
    """Whether an offset (None: not measured) is too large even after subtracting its error."""
    return offset_ms is not None and abs(offset_ms) - (error_ms or 0) > MOST_OFF_MS


def in_words(offset_ms: int) -> str:
    """An offset as text: "3.2 s ahead of the database's", "300 ms behind the database's"."""
    size = abs(offset_ms)
    amount = f"{size / 1000:.1f} s" if size >= 1000 else f"{size} ms"
    return f"{amount} {'ahead of' if offset_ms > 0 else 'behind'} the database's"
