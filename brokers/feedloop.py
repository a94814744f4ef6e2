"""The feeds' own thread and event loop, one in each process that asks for prices.

Whoever asks waits a bounded time in a thread of their own; a feed that hangs holds up nobody else.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import aiohttp

from brokers import aio
from brokers.feedline import Feed, Line

T = TypeVar("T")
#: Beyond what a question itself may take, in seconds: the loop is never so late.
MARGIN_SECONDS: Final = 5.0


class FeedLoop:
    """Lines by login, on a loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._client: aiohttp.ClientSession | None = None
        self.lines: dict[tuple[str, str, str], Line] = {}
        threading.Thread(target=self._loop.run_forever, name="feeds", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Result of ``work``, which ends by itself within ``seconds``."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds + MARGIN_SECONDS)

    def line(self, feed: Feed) -> Line:
        """The line of a feed's login (on the loop)."""
        if self._client is None:
            self._client = aio.client()
        key = (feed.broker, feed.base_url, feed.session.client_id)
        found = self.lines.get(key)
        if found is None:
            found = self.lines[key] = Line(feed, self._client)
        found.use(feed)
        return found


_lock = threading.Lock()
_found: tuple[int, FeedLoop] | None = None


def feed_loop() -> FeedLoop:
    """This process's loop; a forked child makes its own."""
    global _found  # noqa: PLW0603 - threads do not survive a fork
    with _lock:
        if _found is None or _found[0] != os.getpid():
            _found = (os.getpid(), FeedLoop())
        return _found[1]
