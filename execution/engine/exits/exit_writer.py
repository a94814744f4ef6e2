"""Writes the exits of many accounts, which become ready one by one, in batches.

An exit that waits here has not been sent: I2 (written before it is sent).
"""

from __future__ import annotations

import asyncio
from typing import Final

from execution.engine.database.writer import Batch, Written, write
from execution.engine.memory.ownership import Ownership
from execution.engine.runtime.database_pool import DatabasePool
from quantleap.core import clock

#: Seconds to collect exits. At an exit second a thousand accounts become ready almost together. A
#: transaction for each would take seconds; waiting for the last one means waiting for a hanging
#: broker.
GATHER: Final = 0.01


class ExitWriter:
    """Writes what is ready at about the same time in one transaction."""

    def __init__(self, db: DatabasePool, ownership: Ownership) -> None:
        self._db = db
        self._ownership = ownership
        self._ready: list[tuple[Batch, asyncio.Future[Written]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def write(self, batch: Batch) -> Written:
        """Write ``batch``, with others; return what the database granted of all of them.

        Raises DatabaseDown if it did not answer.
        """
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._ready.append((batch, done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._write_ready())
        return await done

    async def _write_ready(self) -> None:
        while self._ready:
            await asyncio.sleep(GATHER)
            ready, self._ready = self._ready, []
            try:
                written = await self._write([batch for batch, _ in ready])
            except BaseException as error:
                for _, done in ready:
                    if not done.done():
                        done.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for _, done in ready:
                    if not done.done():
                        done.set_result(written)

    async def _write(self, batches: list[Batch]) -> Written:
        whole = Batch.of([item for batch in batches for item in batch.items()])
        return await self._db.run(
            write,
            whole,
            owner=self._ownership.owner,
            tokens=dict(self._ownership.tokens),
            now=clock.now(),
        )
