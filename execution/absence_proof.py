"""The proof that an order does not exist: its tag is absent from the order book. Pure.

I3 (no second send without proof) requires this proof.

It takes at least 3 *successful* reads over at least 5 s. The last read must start at least the
broker's visibility delay after the last moment at which a byte of the order could leave. A failed
read proves nothing and is not counted; nor is a read that began before that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_READS: Final = 3
MIN_SPAN: Final = 5.0


@dataclass(slots=True)
class AbsenceProof:
    """Counts successful reads without the tag. Times are monotonic seconds.

    ``sent_at`` is the last moment at which a byte of the last send could leave, not the first: a
    socket retransmits until it is reset.
    """

    sent_at: float
    visibility_delay: float
    reads: int = 0
    first_read_at: float = 0.0

    def missing(self, read_started_at: float) -> bool:
        """Count one successful read without the tag; return whether absence is now proven.

        The read's *start* counts, because the book may have changed before the answer arrived.
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
