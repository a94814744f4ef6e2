"""Database access of the executor: Django's synchronous ORM in a few dedicated threads."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connection

from execution.engine.runtime.quiet_window import QuietWindow
from quantleap.core.postgres.link import be_patient

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)
THREADS: Final = 4
#: Seconds: longer than the server's statement time-out (quantleap/settings/databases.py).
PATIENCE: Final = 9.0


class DatabaseDown(Exception):
    """Postgres did not answer: the outcome is unknown, and the work is tried again."""


class DatabasePool:
    """Runs database functions without blocking the loop, and none in the quiet window."""

    def __init__(
        self, name: str, quiet: QuietWindow, threads: int = THREADS, *, patience: float = PATIENCE
    ) -> None:
        """``patience``: seconds after which a silent connection is given up."""
        self._quiet = quiet
        self._pool = ThreadPoolExecutor(
            threads, thread_name_prefix=name, initializer=be_patient, initargs=(patience,)
        )
        self._links: dict[int, Any] = {}

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of ``function``. Raises DatabaseDown if its connection failed."""
        await self._quiet.over()
        call = functools.partial(self._guarded, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Stop the threads and close their connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for link in self._links.values():
            if link is not None:
                link.close()

    def _guarded(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        try:
            return function(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            # A dead connection stays dead in its thread until it is closed.
            connection.close()
            raise DatabaseDown(str(error).strip().split("\n")[0]) from error
        finally:
            self._links[threading.get_ident()] = connection.connection
