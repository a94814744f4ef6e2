"""Exits of many accounts become ready one by one; they are written a few at a time.

An exit that waits here has not been sent: I2 (written before it is sent).
"""

from __future__ import annotations

import asyncio
from typing import Final

from execution.engine.database.writer import Batch, Written, write
from execution.engine.memory.ownership import Ownership
from execution.engine.runtime.database_pool import DatabasePool
from quantleap.core import clock

#: At an exit second a thousand accounts are ready within a moment of each other. A transaction for
#: each would take seconds; whoever waits for the last one waits for a hanging broker.
GATHER: Final = 0.01


class ExitWriter:
    """Writes what is ready at the same moment in one transaction."""

    def __init__(self, db: DatabasePool, ownership: Ownership) -> None:
        self._db = db
        self._ownership = ownership
        self._ready: list[tuple[Batch, asyncio.Future[Written]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def write(self, batch: Batch) -> Written:
        """What the database granted of ``batch``, and of those it was written with.

        DatabaseDown when it did not answer.
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
