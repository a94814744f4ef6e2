"""An installation for one measurement: servers, database, sink, executor process.

Everything is below ``var/bench``, listens on loopback only, and ends with the ``with`` block (or
with this process, if it is killed).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import requests

from quantleap.embedded import EmbeddedServices
from quantleap.embedded.processes import end_child, spawn
from quantleap.embedded.state import PROJECT_ROOT, VAR_DIR_VARIABLE
from quantleap.supervisor import Layout, environment_without_servers

VAR: Final = PROJECT_ROOT / "var" / "bench"
CLOCK_START: Final = "2026-08-04T10:00:00+05:30"  # an ordinary Tuesday of the shipped calendar
END: Final = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))
#: Production arms at T-120 s and connects at T-30 s; a benchmark need not wait that long.
LEADS: Final = {"QUANTLEAP_ARM_LEAD": "8", "QUANTLEAP_CONNECT_LEAD": "6"}


def python(*arguments: str) -> list[str]:
    """Command line of this interpreter."""
    return [sys.executable, *arguments]


class Sink:
    """The sink's process and its control port."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._http = requests.Session()

    def arrivals(self) -> list[dict[str, Any]]:
        """All orders since the last reset, in order of arrival."""
        answer = self._http.get(f"{self.url}/bench/arrivals", timeout=30)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def count(self) -> dict[str, int]:
        """Number of orders received, and of workers that reported to be ready."""
        counts: dict[str, int] = self._http.get(f"{self.url}/bench/count", timeout=30).json()
        return counts

    def wait_for(self, name: str, number: int, seconds: float) -> None:
        """Wait until :meth:`count` reaches ``number``. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (counts := self.count())[name] < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{counts[name]} of {number} {name} in {seconds:g} s")
            time.sleep(0.1)

    def reset(self) -> None:
        """Forget all orders."""
        self._http.post(f"{self.url}/bench/reset", timeout=30).raise_for_status()

    def tell(self, updates: bool) -> None:
        """Set whether fills are sent by websocket from now on; open websockets are closed."""
        path = f"/bench/updates?{'on' if updates else 'off'}"
        self._http.post(self.url + path, timeout=30).raise_for_status()

    def close(self) -> None:
        """Close the control connection."""
        self._http.close()


class Installation:
    """The environment of one benchmark, and the processes that it started."""

    def __init__(self, *, answer_after: float) -> None:
        """``answer_after`` in seconds."""
        self.environment: dict[str, str] = {}
        self.sink: Sink
        self._answer_after = answer_after
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Installation:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        services = EmbeddedServices(VAR)
        urls = services.start(fresh=True)
        self._stack.callback(services.stop)
        anchor = time.time()
        self.environment = environment_without_servers() | urls.environment() | LEADS
        self.environment |= {
            "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
            "QUANTLEAP_CLOCK_START": CLOCK_START,
            "QUANTLEAP_CLOCK_ANCHOR": repr(anchor),
            "QUANTLEAP_LOG_LEVEL": "INFO",
            VAR_DIR_VARIABLE: str(VAR),
        }
        self.sink = self._start_sink(anchor)
        self.environment["QUANTLEAP_ZERODHA_API"] = self.sink.url
        self.environment["QUANTLEAP_ZERODHA_LOGIN"] = self.sink.url
        with self._log("migrate") as log:
            subprocess.run(
                python("manage.py", "migrate"),
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )
        # This process creates the data through the models, so it needs the installation's
        # environment.
        os.environ.clear()
        os.environ.update(self.environment)
        import django

        django.setup()

    def _start_sink(self, anchor: float) -> Sink:
        import datetime as dt

        offset = dt.datetime.fromisoformat(CLOCK_START).timestamp() - anchor
        process = subprocess.Popen(
            python(
                *("-m", "bench.sink", "--with-parent", "--clock-offset", repr(offset)),
                *("--answer-after", repr(self._answer_after)),
            ),
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end_piped, process)
        assert process.stdout is not None
        sink = Sink(process, int(process.stdout.readline()))
        self._stack.callback(sink.close)
        return sink

    def executor(self, **environment: str) -> contextlib.AbstractContextManager[list[int]]:
        """One of :meth:`executors`."""
        return self.executors(1, environment)

    @contextlib.contextmanager
    def executors(self, count: int, environment: Mapping[str, str]) -> Iterator[list[int]]:
        """Start the worker processes that host ``count`` executors (their ids), and beat.

        All with the command lines of an installation.
        """
        layout = Layout(only=frozenset({"worker", "beat"}), workers=count)
        parts = {part.name: part.command for part in layout.parts()}
        with contextlib.ExitStack() as running:
            names = [name for name in parts if name.startswith("executor")]
            children = [
                running.enter_context(self.process(name, parts[name], **environment))
                for name in names
            ]
            if count == 1:
                self.keep_apart(children[0].pid)
            running.enter_context(self.process("beat", parts["beat"]))
            yield [child.pid for child in children]

    def keep_apart(self, pid: int) -> None:
        """Give the sink the last processor, and this sender with its children the others.

        A broker has its own machines. By default the kernel wakes the sink on the very processor
        that sends, and the sender waits for it: one or two gaps of 4 ms in a thousand orders that
        take ten, in some runs and not in others. Without a choice of processors (macOS), or with
        only one, nothing changes.
        """
        if not hasattr(os, "sched_setaffinity"):
            return
        *senders, last = sorted(os.sched_getaffinity(0))
        if senders:
            os.sched_setaffinity(self.sink.process.pid, {last})
            os.sched_setaffinity(pid, senders)

    @contextlib.contextmanager
    def process(
        self, name: str, command: tuple[str, ...] | list[str], **environment: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A helper process with the installation's environment; its output goes to a log."""
        with self._log(name) as log:
            child = spawn(
                command,
                env=self.environment | environment,
                cwd=PROJECT_ROOT,
                output=log,
                death_signal=signal.SIGTERM,
            )
        try:
            yield child
        finally:
            end_child(child, END)

    @staticmethod
    @contextlib.contextmanager
    def _log(name: str) -> Iterator[IO[bytes]]:
        path: Path = VAR / "log" / f"{name}.log"
        with path.open("ab") as handle:
            yield handle


def _end_piped(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    if process.stdout is not None:
        process.stdout.close()
