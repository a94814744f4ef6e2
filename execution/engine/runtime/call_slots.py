"""Limits how many calls of a kind may start at once; slow calls do not delay others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
#: Connects under way at once: a handshake takes up to two milliseconds of one core, which the loop
#: needs for other things.
CONNECTS: Final = 64
#: Minimum and maximum of reads under way at one broker. Its rate limit counts per account; this
#: limits our own work. With 48 in all, 5,000 books of a broker that answers in 150 ms took 15.6 s;
#: 400 are reached only by a loop that keeps up with them.
READS: Final = (24, 400)
#: Seconds for which a call occupies a slot. A longer call waits for its broker and costs nothing,
#: so it goes on without a slot: a broker that drops SYNs or never answers delays no other call.
HELD: Final = 0.25
#: A slot that is returned this many seconds late shows that the loop is behind: then the number of
#: slots shrinks, since more calls at once would only time out together.
LATE: Final = 0.1


class CallSlots:
    """A limit between ``least`` and ``most`` on calls that start, not on calls that hang.

    It grows with calls carried in time, and shrinks by a third when the loop falls behind.
    """

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least, self._most = least, most or least
        self._bound = float(min(4 * least, self._most))
        self._held = 0
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())

    @property
    def bound(self) -> int:
        """The current number of slots."""
        return int(self._bound)

    async def carry(self, call: Callable[[], Coroutine[Any, Any, T]], *, urgent: bool = False) -> T:
        """Start the call when a slot is free, ``urgent`` ones first; return its result."""
        await self._take(urgent=urgent)
        began = asyncio.get_running_loop().time()
        try:
            attempt = asyncio.create_task(call())
            try:
                await asyncio.wait({attempt}, timeout=HELD)
            except BaseException:
                attempt.cancel()
                raise
        finally:
            self._give(asyncio.get_running_loop().time() - began)
        return await attempt

    async def _take(self, *, urgent: bool) -> None:
        if self._held < self.bound and not any(self._waiting):
            self._held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[0 if urgent else 1].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._held -= 1  # the slot was assigned, and is not used
                self._next()
            raise

    def _give(self, held_for: float) -> None:
        self._held -= 1
        if held_for > HELD + LATE:
            self._bound = max(float(self._least), self._bound * 2 / 3)
        else:
            self._bound = min(float(self._most), self._bound + 0.5)
        self._next()

    def _next(self) -> None:
        for queue in self._waiting:
            while queue and self._held < self.bound:
                turn = queue.popleft()
                if not turn.done():
                    self._held += 1
                    turn.set_result(None)
