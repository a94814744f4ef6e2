"""The executor inside a Celery worker: one loop in a thread of its own, started with the worker."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
from typing import Any, Final

import structlog
import uvloop

from execution.engine.executor import Executor
from execution.engine.timing import from_settings

log = structlog.get_logger(__name__)
WANTED_FILES: Final = 65_536
#: Seconds: an entry that is about to fire is waited for.
STOPPED_WITHIN: Final = 15.0
SWITCH_INTERVAL: Final = 0.001


def raise_file_limit() -> int:
    """Two sockets per account: raise the soft limit as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


class ExecutorHost:
    """Runs one :class:`Executor` in a thread until stopped."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.executor: Executor | None = None

    def start(self) -> None:
        """Start the thread. The worker's pool threads may hold the interpreter 1 ms, not 5."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        log.info("executor_files", limit=raise_file_limit())
        self._thread.start()

    def stop(self, timeout: float = STOPPED_WITHIN) -> None:
        """Hand the shards back and end the thread; harmless when it has ended."""
        if self._loop is not None and self.executor is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.executor.stop)
        self._thread.join(timeout)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.executor = Executor(from_settings(), name=self._name)
        await self.executor.run()


_host: ExecutorHost | None = None


def start_with_worker(sender: Any = None, **_rest: Any) -> None:
    """Celery ``worker_ready``: start the loop in workers that consume the execution queue."""
    global _host  # noqa: PLW0603 - one per process, ended by the shutdown signal
    queues = {queue.name for queue in sender.task_consumer.queues} if sender is not None else set()
    if "execution" in queues and _host is None:
        # What has been imported until now lives as long as the process: leave it out of every later
        # collection of garbage, which then takes a millisecond instead of tens.
        gc.collect()
        gc.freeze()
        _host = ExecutorHost()
        _host.start()


def is_entering() -> bool:
    """Whether the executor of this process, if it has one, is about to fire or firing now."""
    executor = _host.executor if _host is not None else None
    return executor is not None and executor.quiet.is_on


def stop_with_worker(**_rest: Any) -> None:
    """Celery ``worker_shutting_down``: hand over at once."""
    global _host  # noqa: PLW0603
    if _host is not None:
        _host.stop()
        _host = None
