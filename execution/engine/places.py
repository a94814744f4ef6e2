"""How many calls of a kind may be under way at once; the slow keep nobody waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
#: Connects in the making: a handshake is up to two milliseconds of one core, and the loop has other
#: things to do meanwhile.
CONNECTS: Final = 64
#: Reads under way at one broker. Its pace counts each account for itself; what this bounds is our
#: own work: a broker that answers in 150 ms is asked 2,600 times a second, which one loop can just
#: about carry. (With 48 in all, 5,000 books took 15.6 s.)
READS: Final = 400
#: Seconds for which a call keeps its place. What takes longer waits for a broker and costs nothing:
#: it goes on outside, and whoever swallows SYNs or never answers keeps nobody else waiting.
HELD: Final = 0.25


class Places:
    """A bound on what begins, not on what hangs."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)

    async def carry(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The call's result; it begins when there is a place."""
        async with self._places:
            attempt = asyncio.create_task(call())
            try:
                await asyncio.wait({attempt}, timeout=HELD)
            except BaseException:
                attempt.cancel()
                raise
        return await attempt
