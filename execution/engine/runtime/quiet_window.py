"""The quiet window around an entry second, in which the executor starts no other work.

A thousand ``send(2)`` calls take some ten milliseconds of one core, and each of them releases the
interpreter: another thread that wants it takes it and returns it a switch interval later. So from
shortly before T until the last order of the first group has left, no database work starts, no round
is decided, no book is read, and no garbage is collected. Work of other runs waits a tenth of a
second, heartbeats included (the fence lasts seconds).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

LEAD: Final = 0.1


class QuietWindow:
    """A gate that is closed while at least one entry is about to fire."""

    def __init__(self) -> None:
        self._runs: set[int] = set()
        self._held = False
        self._over = asyncio.Event()
        self._over.set()

    @property
    def is_on(self) -> bool:
        """Whether the gate is closed (any thread may ask)."""
        return bool(self._runs)

    def begin(self, run_id: int) -> None:
        """Close the gate for an entry that is due in :data:`LEAD` seconds."""
        self._runs.add(run_id)
        self._over.clear()
        self._collect()

    def end(self, run_id: int) -> None:
        """Note that this entry has fired or never will; harmless if it was not announced."""
        self._runs.discard(run_id)
        if not self._runs:
            self._over.set()
            self._collect()

    def hold(self, held: bool) -> None:
        """Collect no garbage while ``held``; everything else goes on. With thousands of accounts a
        collection takes a third of a second, in which no sold legs leave."""
        if held is not self._held:
            self._held = held
            self._collect()

    def _collect(self) -> None:
        if self._runs or self._held:
            gc.disable()
        else:
            gc.enable()

    def collect(self) -> None:
        """Collect garbage now, unless another entry is about to fire: a collection takes tens of
        milliseconds, and two entries may be a second apart."""
        if not self._runs:
            gc.collect()

    async def portions(self, items: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
        """Yield ``items``, ``size`` at a time, with other work in between, and none while the gate
        is closed. Observed: planning an entry a second later made this one 38 ms late."""
        for start in range(0, len(items), size):
            await asyncio.sleep(0)
            await self.over()
            yield items[start : start + size]

    async def over(self) -> None:
        """Return as soon as the gate is open: nearly always at once."""
        await self._over.wait()
