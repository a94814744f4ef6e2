"""How soon an ended process is restarted: at once after a clean stop, otherwise with growing
waits."""

from __future__ import annotations

from typing import Final

WAITS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds: a process that ends by itself before that did not do its job.
SETTLED: Final = 2.0
#: Seconds: after this life a process starts its back-off again.
STEADY: Final = 30.0


class BackOff:
    """The back-off of one supervised process."""

    def __init__(self) -> None:
        self.failures = 0

    def ended(self, status: int, lived: float) -> float:
        """Seconds until the next start of a process that ended with ``status`` after ``lived`` s.

        0.0 for a clean stop: somebody stopped it, and it ended as it should. Only a crash causes a
        wait.
        """
        if lived > STEADY:
            self.failures = 0
        if status == 0 and lived > SETTLED:
            self.failures = 0
            return 0.0
        return self.failed()

    def failed(self) -> float:
        """Seconds until the next try after a failed one."""
        wait = WAITS[min(self.failures, len(WAITS) - 1)]
        self.failures += 1
        return wait
