"""When a tag's absence from the book proves that the order does not exist. Pure.

This proof is what I3 (no second send without proof) waits for.

At least 3 *successful* reads, spread over at least 5 s, the last one later than the broker's
visibility delay after the last moment at which a byte of the order could leave. A failed read
proves nothing and is simply not fed in; one that began before that moment proves nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_READS: Final = 3
MIN_SPAN: Final = 5.0


@dataclass(slots=True)
class AbsenceProof:
    """Counts reads without the tag. Times are monotonic seconds; ``sent_at`` is the last moment
    at which a byte of the last send could leave (not the first: a socket is retransmitted until it
    is reset)."""

    sent_at: float
    visibility_delay: float
    reads: int = 0
    first_read_at: float = 0.0

    def missing(self, read_started_at: float) -> bool:
        """Note one successful read that lacked the tag; True when absence is proven.

        The read's *start* counts: the book may have changed while the answer travelled.
        """
        if read_started_at < self.sent_at:
            return False
        if self.reads == 0:
            self.first_read_at = read_started_at
        self.reads += 1
        return (
            self.reads >= MIN_READS
            and read_started_at - self.first_read_at >= MIN_SPAN
            and read_started_at - self.sent_at >= self.visibility_delay
        )
