"""How many calls of a kind may be under way at once; the slow keep nobody waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
#: Connects in the making: a handshake is up to two milliseconds of one core, and the loop has other
#: things to do meanwhile.
CONNECTS: Final = 64
#: Reads under way at one broker, at the least and at the most. Its pace counts each account for
#: itself; what this bounds is our own work. With 48 in all, 5,000 books of a broker that answers in
#: 150 ms took 15.6 s; 400 are reached by a loop alone that keeps up with them.
READS: Final = (24, 400)
#: Seconds for which a call keeps its place. What takes longer waits for a broker and costs nothing:
#: it goes on outside, and whoever swallows SYNs or never answers keeps nobody else waiting.
HELD: Final = 0.25
#: A place that is given back so much later than it should be, in seconds, says that the loop is
#: late: then there are fewer of them, since more calls at once would only time out together.
LATE: Final = 0.1


class CallSlots:
    """A bound on what begins, not on what hangs: between ``least`` and ``most``.

    It grows by what was carried in time, and is cut by a third where the loop falls behind.
    """

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least, self._most = least, most or least
        self._bound = float(min(4 * least, self._most))
        self._held = 0
        self._waiting: tuple[deque[asyncio.Future[None]], ...] = (deque(), deque())

    @property
    def bound(self) -> int:
        """How many may begin now."""
        return int(self._bound)

    async def carry(self, call: Callable[[], Coroutine[Any, Any, T]], *, urgent: bool = False) -> T:
        """The call's result; it begins when there is a place, the ``urgent`` before the others."""
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
                self._held -= 1  # it had come, and nobody takes it
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
