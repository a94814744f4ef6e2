"""``python -m execution.engine.process``: the executor as a process of its own.

Started by the Celery worker of its queue (``execution/engine/worker_host.py``); by hand, without
``--lifeline``, it lives until SIGTERM. It exits 0 after a clean stop, 4 when it must not start, and
with anything else when its loop has died: whoever watches starts it again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

from quantleap.core.startup import refuse_to_start
from quantleap.embedded.processes import die_with_parent
from quantleap.settings.process import ProcessKind

WANTED_FILES: Final = 65_536
SWITCH_INTERVAL: Final = 0.001
#: Seconds between two pulses to the worker.
PULSE: Final = 0.5
#: Seconds that an orphan has for a clean stop, the same as its worker would wait.
ORPHANED_FOR: Final = 15.0
DIED: Final = 1


def raise_file_limit() -> int:
    """Raise the soft limit of open files (two sockets per account) towards WANTED_FILES, as far as
    the hard limit allows; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return max(soft, target)


class Lifeline:
    """The executor's end of the socket to its worker. Used in the loop's thread only."""

    def __init__(self, fileno: int, stop: Callable[[], None]) -> None:
        """``stop`` asks the executor to hand over."""
        self._socket = socket.socket(fileno=fileno)
        self._socket.setblocking(False)
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._beat()

    def _beat(self) -> None:
        try:
            self._socket.send(b".")
        except BlockingIOError:
            pass  # the worker is frozen or slow; the unread pulses are enough for it
        except OSError:
            self._orphaned()
            return
        self._loop.call_later(PULSE, self._beat)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._orphaned()

    def _orphaned(self) -> None:
        """The worker is dead: hand over, and end in any case after a time limit."""
        self._loop.remove_reader(self._socket.fileno())
        self._stop()
        self._loop.call_later(ORPHANED_FOR, os._exit, DIED)


async def _live(lifeline: int | None) -> None:
    from execution.engine.executor import Executor
    from execution.timing import from_settings

    executor = Executor(from_settings())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, executor.stop)
    held = None if lifeline is None else Lifeline(lifeline, executor.stop)
    await executor.run()
    del held


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until asked to stop; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifeline", type=int, default=None, help="number of the worker's socket")
    options = parser.parse_args(arguments)
    if options.lifeline is not None:
        die_with_parent(signal.SIGTERM)
    # Ctrl-C reaches the whole process group; the worker decides the order in which they stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    refuse_to_start(ProcessKind.EXECUTOR)
    import structlog
    import uvloop

    from execution.engine.runtime.facts import FACTS

    log = structlog.get_logger(__name__)
    log.info("executor_files", limit=raise_file_limit())
    # Database threads may hold the interpreter for 1 ms, not 5.
    sys.setswitchinterval(SWITCH_INTERVAL)
    # Everything imported so far lives as long as the process: exclude it from later garbage
    # collections, which then take a millisecond instead of tens.
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(options.lifeline))
    except Exception:  # process boundary: log it in the log's own format, then end
        log.exception("executor_died")
        return DIED
    finally:
        FACTS.flush()
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # No thread that is still waiting may keep the process from ending.
    os._exit(status)
