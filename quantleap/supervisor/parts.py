"""The parts of an installation: each one's command, how it stops, when it is ready."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from quantleap.embedded.state import PROJECT_ROOT

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Part:
    """One supervised process.

    ``command`` starts with an absolute program path. ``stop_seconds`` is how long it may take to
    end after ``stop_signal`` before it is killed. ``port`` is the loopback port that answers once
    the part is ready, None if there is none.
    """

    name: str
    command: tuple[str, ...]
    stop_seconds: float
    stop_signal: signal.Signals = signal.SIGTERM
    port: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def is_ready(self) -> bool:
        """True once the part answers on its port."""
        return self.port is None or port_answers(self.port)


@dataclass(frozen=True)
class Layout:
    """How many of each part, and where: turned into parts in starting order.

    ``port`` is that of the console and the API; the broker simulator's control port is
    ``simulator_port``, and its Kite and Noren ports are the two that follow. All on loopback.
    ``workers`` is the number of execution workers (each hosts an executor), in addition to one
    worker for everything else. ``only`` keeps the named parts (``web``, ``worker``, ``beat``,
    ``simulator``).
    """

    port: int = 8000
    simulator_port: int = 8900
    workers: int = 1
    web_workers: int = 2
    web_threads: int = 8
    task_threads: int = 8
    only: frozenset[str] | None = None

    @property
    def url(self) -> str:
        """The address of the console and the API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def simulator_urls(self) -> dict[str, str]:
        """The settings variables that lead the broker adapters to the simulator."""
        names = ("QUANTLEAP_SIMULATOR_URL", "QUANTLEAP_SIMULATOR_KITE", "QUANTLEAP_SIMULATOR_NOREN")
        return {
            name: f"http://{LOOPBACK}:{self.simulator_port + offset}"
            for offset, name in enumerate(names)
        }

    def parts(self) -> list[Part]:
        """The parts in starting order; they stop in the opposite order."""
        kinds: list[tuple[str, Callable[[], list[Part]]]] = [
            ("simulator", self._simulator),
            ("worker", self._workers),
            ("beat", self._beat),
            ("web", self._web),
        ]
        return [
            part
            for kind, make in kinds
            if self.only is None or kind in self.only
            for part in make()
        ]

    def _simulator(self) -> list[Part]:
        port = self.simulator_port
        command = manage(
            *("run_broker_simulator", "--control-port", str(port)),
            *("--kite-port", str(port + 1), "--noren-port", str(port + 2)),
            *("--redirect-url", f"{self.url}/broker-login/done"),
        )
        return [Part("simulator", command, stop_seconds=5.0, port=self.simulator_port)]

    def _workers(self) -> list[Part]:
        # Executors have a process of their own: a webhook's JSON must not hold the interpreter at
        # the entry second. Any machine may run either kind, or both queues in one worker.
        executors = ["executor", *(f"executor{number}" for number in range(2, self.workers + 1))]
        return [
            self._worker("worker", "celery", self.task_threads),
            *(self._worker(name, "execution", 2) for name in executors),
        ]

    @staticmethod
    def _worker(name: str, queue: str, threads: int) -> Part:
        return Part(
            name,
            module(
                *("celery", "-A", "quantleap", "worker", "-n", f"{name}@%h"),
                *("-P", "threads", "-c", str(threads), "-Q", queue),
                *("-l", "INFO", "--without-gossip", "--without-mingle"),
            ),
            stop_seconds=20.0,
        )

    def _beat(self) -> list[Part]:
        # No pid file: one left by `kill -9` would refuse the next start.
        command = module("celery", "-A", "quantleap", "beat", "-l", "INFO")
        return [Part("beat", command, stop_seconds=10.0)]

    def _web(self) -> list[Part]:
        command = module(
            *("gunicorn", "quantleap.wsgi:application", "--bind", f"{LOOPBACK}:{self.port}"),
            *("--worker-class", "gthread", "--workers", str(self.web_workers)),
            *("--threads", str(self.web_threads), "--graceful-timeout", "10"),
            # Longer than a client or a proxy keeps an idle connection (60 s at most): by default
            # gunicorn hangs up after 2 s, and a request that leaves in that instant is lost.
            *("--keep-alive", "75"),
            # Its default place is the home folder, and set-up leaves nothing outside the clone.
            "--no-control-socket",
        )
        return [Part("web", command, stop_seconds=15.0, port=self.port)]


def module(*arguments: str) -> tuple[str, ...]:
    """The command line of ``python -m`` with this interpreter."""
    return (sys.executable, "-m", *arguments)


def manage(*arguments: str) -> tuple[str, ...]:
    """The command line of a management command with this interpreter."""
    return (sys.executable, str(PROJECT_ROOT / "manage.py"), *arguments)


def port_answers(port: int) -> bool:
    """True if something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port now.

    Asked by binding, as a server does: nobody answers on a port that an outgoing connection holds,
    and it is not free.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
