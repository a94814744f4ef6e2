"""The worker's side of the executor: starts its process, watches it, and restarts it.

The Celery worker of the queue ``execution`` starts it before connecting to its message broker, and
keeps it running for as long as the worker lives, with or without Redis. A socket connects the two,
the lifeline: the executor's loop sends a pulse through it, and reads end-of-file when the worker
has died, however it died. A loop without a pulse for as long as its fence lasts sends no orders any
more; it is killed before its leases run out, so it cannot wake up beside its successor.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from celery import bootsteps
from django.conf import settings

from execution.engine.database.leases import FENCE_MARGIN
from quantleap.embedded.processes import end_child
from quantleap.supervisor.backoff import BackOff

log = structlog.get_logger(__name__)
QUEUE: Final = "execution"
COMMAND: Final = (sys.executable, "-m", "execution.engine.process")
#: Seconds for a clean stop, which waits for an entry that is about to fire.
STOPPED_WITHIN: Final = 15.0
#: Seconds until the first pulse: a very busy machine imports slowly.
STARTED_WITHIN: Final = 120.0
_LOOK: Final = 0.2


class ExecutorHost:
    """Keeps one executor process running until stopped.

    ``command`` is started with ``--lifeline`` and the number of an inherited socket. ``silence`` is
    the number of seconds without a pulse after which it is killed.
    """

    def __init__(self, command: Sequence[str] = COMMAND, *, silence: float | None = None) -> None:
        fence = settings.QUANTLEAP_LEASE_TTL - FENCE_MARGIN
        self._command = tuple(command)
        self._silence = fence if silence is None else silence
        self._back_off = BackOff()
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        # One thread for all children: the kernel's death signal is tied to the thread that forks.
        self._thread = threading.Thread(target=self._run, name="executor-host", daemon=True)

    @property
    def pid(self) -> int | None:
        """The executor's process id; None while none is running."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def start(self) -> None:
        """Start the thread that keeps the executor running."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ask the executor to hand over; returns at once (safe in a signal handler)."""
        self._stopping = True
        child = self._child
        if child is not None:
            child.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask the executor to hand over; return when it has ended, by force if need be."""
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            begun = time.monotonic()
            try:
                status = self._one_life()
            except OSError as error:  # no memory or no free process slot on this machine
                log.error("executor_not_started", reason=str(error))
                status = 1
            self._pause(status, time.monotonic() - begun)

    def _pause(self, status: int, lived: float) -> None:
        if self._stopping:
            return
        wait = self._back_off.ended(status, lived)
        log.warning("executor_ended", status=status, again_in_s=wait)
        self._sleep(wait)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))

    def _one_life(self) -> int:
        our_end, child_end = socket.socketpair()
        with our_end:
            with child_end:
                child = self._child = subprocess.Popen(
                    [*self._command, "--lifeline", str(child_end.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[child_end.fileno()],
                    env={**os.environ, "PYTHONPATH": _path()},
                )
            log.info("executor_process_started", pid=child.pid)
            try:
                self._watch(child, our_end)
            finally:
                status = end_child(child, ((signal.SIGKILL, 5.0),))
        return -signal.SIGKILL if status is None else status

    def _watch(self, child: subprocess.Popen[bytes], lifeline: socket.socket) -> None:
        """Return when the child has ended or must be killed."""
        lifeline.settimeout(_LOOK)
        silent, limit, stopping = 0.0, STARTED_WITHIN, 0.0
        looked = time.monotonic()
        while child.poll() is None:
            pulse = _pulse(lifeline)
            now = time.monotonic()
            # A frozen machine freezes both of us: only time that we watched counts as silence.
            watched, looked = min(now - looked, 2 * _LOOK), now
            if self._stopping:
                if not stopping:
                    child.send_signal(signal.SIGTERM)  # it may have started after the request
                stopping += watched
            silent = 0.0 if pulse else silent + watched
            limit = self._silence if pulse else limit
            if silent > limit:
                log.error("executor_hung", pid=child.pid, silent_s=round(silent, 1))
                return
            if stopping > STOPPED_WITHIN:
                log.error("executor_does_not_stop", pid=child.pid)
                return


def _pulse(lifeline: socket.socket) -> bool:
    """Whether the child's loop has run since the last call; waits briefly for a pulse."""
    try:
        if lifeline.recv(1024):
            return True
    except TimeoutError:
        return False
    except OSError:
        pass
    time.sleep(_LOOK / 10)  # it has closed its end of the socket, and is about to end
    return False


def _path() -> str:
    """PYTHONPATH with which the child finds the project, wherever the worker was started."""
    return os.pathsep.join(filter(None, (str(settings.BASE_DIR), os.environ.get("PYTHONPATH"))))


class ExecutorStep(bootsteps.StartStopStep):
    """Celery step: a worker that consumes the queue ``execution`` hosts an executor.

    Celery starts its steps before it connects to the message broker, and stops them at the end,
    waiting for each.
    """

    name = "quantleap.ExecutorStep"
    host: ExecutorHost | None = None

    def include_if(self, worker: Any) -> bool:
        """Whether this worker was started for our queue."""
        return QUEUE in worker.app.amqp.queues.consume_from

    def create(self, worker: Any) -> ExecutorHost:  # type: ignore[override]  # as Celery's own do
        """The object that Celery starts and stops."""
        ExecutorStep.host = ExecutorHost()
        return ExecutorStep.host


def stop_with_worker(**_rest: Any) -> None:
    """Celery ``worker_shutting_down``: hand over at once, before the worker's tasks have ended."""
    if ExecutorStep.host is not None:
        ExecutorStep.host.ask_to_stop()
