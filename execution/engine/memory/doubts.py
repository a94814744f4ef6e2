"""What the database may know and we do not: commits unheard of, changes that it did not grant."""

from __future__ import annotations

from typing import Final

from execution.state import LiveExecution
from quantleap.core import clock

#: Seconds until memory is compared with the database, once there is a doubt.
LOOK_SOON: Final = 0.5


class Doubts:
    """Noted by whoever has them, settled by the recovery."""

    def __init__(self) -> None:
        #: When memory is compared with the database next (monotonic seconds).
        self.next_look = 0.0
        self._executions: set[int] = set()

    def suspect(self) -> None:
        """A commit may have gone through unheard: look soon."""
        self.next_look = min(self.next_look, clock.monotonic() + LOOK_SOON)

    def doubt(self, execution: LiveExecution) -> None:
        """The database did not let us change this execution: read what it says."""
        self._executions.add(execution.id)
        self.suspect()

    def take(self) -> set[int]:
        """Ids of the executions in doubt; they are none any more."""
        taken, self._executions = self._executions, set()
        return taken
