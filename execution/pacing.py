"""The pace of real accounts: all windows of a broker over all calls of a login. Pure.

The exchanges ask for an algo's registration above 10 orders a second and client (NSE/INVG/67858
B.2); brokers count further windows, over cancels and reads too (:mod:`brokers.pace`). One person
may hold the same account at two partners: the broker counts it once, so do we.
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
    """One pacer for each real account, however many of our accounts it stands behind."""

    def __init__(self) -> None:
        self._pacers: dict[tuple[str, str], Pacer] = {}

    def of(self, capabilities: Capabilities, client_id: str) -> Pacer:
        """The pacer of ``client_id`` at this broker."""
        key = (capabilities.kind, client_id)
        found = self._pacers.get(key)
        if found is None:
            found = self._pacers[key] = Pacer(capabilities.windows)
        return found

    def knows(self, capabilities: Capabilities, client_id: str) -> bool:
        """Whether calls of ``client_id`` are being counted."""
        return (capabilities.kind, client_id) in self._pacers

    def begin(
        self, capabilities: Capabilities, client_id: str, past: Iterable[tuple[float, Call]]
    ) -> None:
        """Count calls that have left before (monotonic seconds, ascending) and those that come.

        Nothing where calls of ``client_id`` are being counted: these are among them.
        """
        if self.knows(capabilities, client_id):
            return
        pacer = self.of(capabilities, client_id)
        for at, call in past:
            pacer.take(at, call)
