"""Doubts about memory: commits of unknown outcome, and changes that the database did not grant."""

from __future__ import annotations

from typing import Final

from execution.state import LiveExecution
from quantleap.core import clock

#: Seconds until memory is compared with the database, once there is a doubt.
LOOK_SOON: Final = 0.5


class Doubts:
    """Noted by any part, settled by the recovery."""

    def __init__(self) -> None:
        #: When memory is compared with the database next (monotonic seconds).
        self.next_look = 0.0
        self._executions: set[int] = set()

    def suspect(self) -> None:
        """Note that a commit may have succeeded without an answer: compare soon."""
        self.next_look = min(self.next_look, clock.monotonic() + LOOK_SOON)

    def doubt(self, execution: LiveExecution) -> None:
        """Note that the database did not let us change this execution: read its row."""
        self._executions.add(execution.id)
        self.suspect()

    def take(self) -> set[int]:
        """Return and clear the ids of the executions in doubt."""
        taken, self._executions = self._executions, set()
        return taken
