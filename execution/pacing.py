"""Call rates of real accounts: all rate windows of a broker over all calls of a login. Pure.

The exchanges require an algo to be registered above 10 orders per second and client
(NSE/INVG/67858 B.2); brokers have further windows, which count cancels and reads too
(:mod:`brokers.pace`). A person may use the same account at two partners: the broker counts it once,
and so do we.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from brokers.base import Capabilities
from brokers.pace import Call, Pacer, Urgency

#: Exits, unwinds and every cancel go before entries, and entries before reads.
EXITS: Final = Urgency.FIRST
ENTRIES: Final = Urgency.SECOND
READS: Final = Urgency.LAST


class Pacers:
    """One pacer per real account, however many of our accounts share it."""

    def __init__(self) -> None:
        self._pacers: dict[tuple[str, str], Pacer] = {}

    def of(self, capabilities: Capabilities, client_id: str) -> Pacer:
        """The pacer of ``client_id`` at this broker."""
        key = (capabilities.kind, client_id)
        pacer = self._pacers.get(key)
        if pacer is None:
            pacer = self._pacers[key] = Pacer(capabilities.windows)
        return pacer

    def knows(self, capabilities: Capabilities, client_id: str) -> bool:
        """Whether calls of ``client_id`` are already counted."""
        return (capabilities.kind, client_id) in self._pacers

    def begin(
        self, capabilities: Capabilities, client_id: str, past: Iterable[tuple[float, Call]]
    ) -> None:
        """Count ``past`` calls (monotonic seconds, ascending) and all later ones.

        Does nothing if calls of ``client_id`` are already counted: they include the past ones.
        """
        if self.knows(capabilities, client_id):
            return
        pacer = self.of(capabilities, client_id)
        for at, call in past:
            pacer.take(at, call)
