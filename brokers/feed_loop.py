"""The feeds' own thread and event loop, one in each process that asks for prices.

Callers wait a limited time in their own threads, so a feed that hangs delays nobody else.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import aiohttp
import structlog
from django.db import connection

from brokers import shared_pace, transport_async
from brokers.feed_login import Feed, Line
from brokers.pace import Urgency, Window
from brokers.registry import get_adapter

T = TypeVar("T")
log = structlog.get_logger(__name__)
#: Seconds beyond what a request itself may take: the loop is never that late.
MARGIN_SECONDS: Final = 5.0
#: A slower database does not delay a request.
DATABASE_SECONDS: Final = 0.5


class FeedLoop:
    """Lines by login, on a loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._client: aiohttp.ClientSession | None = None
        # One thread with its own database connection: no other work waits behind it.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="feed-pace")
        self.lines: dict[tuple[str, str, str], Line] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="feeds", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Result of ``work``, which ends by itself within ``seconds``."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds + MARGIN_SECONDS)

    def close(self) -> None:
        """Close every connection and end the thread; no further requests are possible."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(MARGIN_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(MARGIN_SECONDS)
        self._loop.close()
        self._database.shutdown(wait=False)

    async def _close(self) -> None:
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _shared(self, login: str, urgency: Urgency) -> float:
        broker = login.partition(" ")[0]
        windows = get_adapter(broker).capabilities.windows
        slot = self._loop.run_in_executor(self._database, _slot, login, windows, urgency)
        try:
            return await asyncio.wait_for(asyncio.shield(slot), DATABASE_SECONDS)
        except Exception as error:  # noqa: BLE001 - no database may keep a price from coming
            log.warning("feed_pace_not_shared", login=login, reason=type(error).__name__)
            return 0.0  # fall back to our own pace

    def line(self, feed: Feed) -> Line:
        """The line of a feed's login (on the loop)."""
        if self._client is None:
            self._client = transport_async.client()
        key = (feed.broker, feed.base_url, feed.session.client_id)
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(feed, self._client, self._shared)
        line.use(feed)
        return line


def _slot(login: str, windows: Sequence[Window], urgency: Urgency) -> float:
    try:
        return shared_pace.take_slot(login, windows, urgency)
    finally:
        connection.close()  # one call a second does not justify a session all day


_lock = threading.Lock()
_found: tuple[int, FeedLoop] | None = None


@atexit.register
def _end() -> None:
    """Close together with the process; a forked child has no thread for the loop it inherited."""
    if _found is not None and _found[0] == os.getpid():
        with contextlib.suppress(Exception):  # the process ends: nothing can be done
            _found[1].close()


def feed_loop() -> FeedLoop:
    """This process's loop; a forked child creates its own."""
    global _found  # noqa: PLW0603 - threads do not survive a fork
    with _lock:
        if _found is None or _found[0] != os.getpid():
            _found = (os.getpid(), FeedLoop())
        return _found[1]
