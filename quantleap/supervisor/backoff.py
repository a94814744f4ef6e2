"""How soon what has ended is started again: at once after a clean stop, else ever later."""

from __future__ import annotations

from typing import Final

WAITS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds: whatever ends by itself before that did not do what it is for.
SETTLED: Final = 2.0
#: Seconds: what has lived this long begins its back-off anew.
STEADY: Final = 30.0


class BackOff:
    """Of one process that is kept running."""

    def __init__(self) -> None:
        self.failures = 0

    def ended(self, status: int, lived: float) -> float:
        """Seconds until the next start of a process that ended with ``status`` after ``lived`` s.

        0.0 for a clean stop: somebody stopped it, and it ended as it should. Only a crash is backed
        off from.
        """
        if lived > STEADY:
            self.failures = 0
        if status == 0 and lived > SETTLED:
            self.failures = 0
            return 0.0
        return self.failed()

    def failed(self) -> float:
        """Seconds until the next try after one that came to nothing."""
        wait = WAITS[min(self.failures, len(WAITS) - 1)]
        self.failures += 1
        return wait
