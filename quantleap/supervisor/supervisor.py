"""Start everything in order, restart what dies, stop everything in the opposite order."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from quantleap.embedded import EmbeddedServiceError, EmbeddedServices, ServiceUrls
from quantleap.embedded.processes import end_child, signal_quietly, spawn, wait_until
from quantleap.embedded.server import Server, log_tail
from quantleap.embedded.state import PROJECT_ROOT, VAR_DIR_VARIABLE, write_private
from quantleap.supervisor.backoff import BackOff
from quantleap.supervisor.logfiles import LogFiles
from quantleap.supervisor.parts import LOOPBACK, Layout, Part, manage, port_is_free

WATCH_SECONDS: Final = 0.1
READY_SECONDS: Final = 90.0
STEP_SECONDS: Final = 600.0
URL_VARIABLES: Final = ("DATABASE_URL", "REDIS_URL")
# What a shell needs so that `manage.py` there uses the same installation at the same time. Nothing
# secret: the embedded servers are found below the base folder.
SHELL_VARIABLES: Final = (
    "QUANTLEAP_VAR_DIR",
    "QUANTLEAP_BASE_URL",
    "QUANTLEAP_SIMULATOR_URL",
    "QUANTLEAP_SIMULATOR_KITE",
    "QUANTLEAP_SIMULATOR_NOREN",
    "QUANTLEAP_CLOCK_START",
    "QUANTLEAP_CLOCK_ANCHOR",
    "QUANTLEAP_CLOCK_FILE",
)


def environment_without_servers() -> dict[str, str]:
    """Our environment without the variables that name servers or a settings profile.

    For installations that a test starts beside its own: they get embedded servers of their own.
    """
    hidden = {*ServiceUrls("", "", "").environment(), "DJANGO_SETTINGS_MODULE", VAR_DIR_VARIABLE}
    return {name: value for name, value in os.environ.items() if name not in hidden}


class SupervisorError(RuntimeError):
    """The installation could not be started; the message names the part and what to do."""


@dataclass
class _Running:
    part: Part
    child: subprocess.Popen[bytes]
    started: float


@dataclass
class _Failures:
    back_off: BackOff = field(default_factory=BackOff)
    retry_at: float = 0.0


class Supervisor:
    """A whole installation below ``base_dir``.

    ``environment`` is what the children inherit (default: ours); with DATABASE_URL and REDIS_URL in
    it no embedded server is started. ``clock_start`` (ISO 8601, IST unless it says otherwise) moves
    every part to that instant. ``fresh`` empties the embedded servers' folders first. ``report``
    receives one short line per event.
    """

    def __init__(
        self,
        *,
        base_dir: Path,
        layout: Layout,
        environment: Mapping[str, str] | None = None,
        clock_start: str | None = None,
        fresh: bool = False,
        report: Callable[[str], None] = print,
    ) -> None:
        self.base_dir = base_dir.absolute()
        self.layout = layout
        self.report = report
        self.services: EmbeddedServices | None = None
        self._parts = {part.name: part for part in layout.parts()}
        self._environment = dict(os.environ if environment is None else environment)
        self._clock_start = clock_start
        self._fresh = fresh
        self._running: dict[str, _Running] = {}
        self._failures: dict[str, _Failures] = {}
        self._guard = threading.RLock()
        self._stopping = False
        self.logs = LogFiles(self.base_dir / "log")

    # -- the whole ------------------------------------------------------------------------------

    def start(self, *, seed: bool = True) -> None:
        """Servers, database, seed, then every part; returns when all of them are ready."""
        self._start_services()
        self._complete_environment()
        for part in self._parts.values():
            if part.port is not None and not port_is_free(part.port):
                raise SupervisorError(
                    f"port {part.port} for {part.name} is used by another program; end it, or "
                    f"choose others, as in: make run PORT=8200 SIMULATOR_PORT=8250"
                )
        self.run_step("migrate")
        if seed:
            self.run_step("seed")
        for name in self._parts:
            self.start_process(name)
        for name in self._parts:
            self.wait_ready(name)
        self._write_status()

    def watch(self, asked_to_stop: threading.Event) -> None:
        """Restart whatever ends, with back-off, until asked to stop."""
        while not asked_to_stop.wait(WATCH_SECONDS):
            self.look()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in a thread of its own for the length of a ``with`` block."""
        asked = threading.Event()
        watcher = threading.Thread(target=self.watch, args=(asked,), name="watcher")
        watcher.start()
        try:
            yield
        finally:
            asked.set()
            watcher.join()

    def look(self) -> None:
        """Check every server, part and log once; restarts what has ended and is due."""
        self.logs.look()
        for server in self._servers():
            with self._guard:
                if self._stopping or server.is_running():
                    continue
                self._restart_server(server)
        for name in self._parts:
            with self._guard:
                if not self._stopping:
                    self._look_at_part(name)

    def stop(self) -> None:
        """Stop every part in the opposite order of starting, then the servers."""
        with self._guard:
            self._stopping = True
            if self.services is not None:
                self.services.mark_stopping()
            self._status_path().unlink(missing_ok=True)
            self._shell_path().unlink(missing_ok=True)
            for name in reversed(list(self._running)):
                self.stop_process(name)
            if self.services is not None:
                self.services.stop()
                self.services = None

    # -- one part -------------------------------------------------------------------------------

    def start_process(self, name: str) -> int:
        """Start the part ``name`` (see ``Layout``) and return its process id."""
        part = self._parts[name]
        with self._guard:
            if name in self._running:
                raise SupervisorError(f"{name} is running already")
            with self._open_log(name) as log:
                child = spawn(
                    part.command,
                    env={**self._environment, **part.environment},
                    cwd=PROJECT_ROOT,
                    output=log,
                    death_signal=part.stop_signal,
                )
            self._running[name] = _Running(part, child, time.monotonic())
            if self.services is not None:
                self.services.record.add(name, child.pid, part.command)
        return child.pid

    def stop_process(self, name: str) -> None:
        """End the part ``name`` in an orderly way; harmless if it is not running."""
        with self._guard:
            running = self._running.pop(name, None)
            if running is None:
                return
            part = running.part
            end_child(running.child, ((part.stop_signal, part.stop_seconds), (signal.SIGKILL, 5.0)))
            self._end_group(running)

    def kill(self, name: str) -> None:
        """``kill -9`` the part or server ``name``, with the processes that it started.

        The watching code starts it again.
        """
        with self._guard:
            for server in self._servers():
                if server.name == name:
                    server.kill()
                    return
            running = self._running[name]
            signal_quietly(running.child.pid, signal.SIGKILL, group=True)

    def pid(self, name: str) -> int:
        """The process id of a running part or server; raises KeyError if it is not running."""
        return self.pids()[name]

    def pids(self) -> dict[str, int]:
        """The process ids of everything that is running now, by name."""
        with self._guard:
            pids = {server.name: server.pid for server in self._servers() if server.is_running()}
            for name, running in self._running.items():
                if running.child.poll() is None:
                    pids[name] = running.child.pid
            return pids

    @property
    def environment(self) -> dict[str, str]:
        """What the children inherit, servers and clock included: for helpers beside them."""
        return dict(self._environment)

    def wait_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until the part answers on its port; raises SupervisorError if it ends or stalls."""
        running = self._running[name]
        wait_until(
            lambda: running.child.poll() is not None or running.part.is_ready(),
            seconds,
        )
        if running.child.poll() is not None or not running.part.is_ready():
            path = self._log_path(name)
            raise SupervisorError(f"{name} did not start; the end of {path}:\n{log_tail(path)}")

    def run_step(self, *arguments: str) -> None:
        """Run one management command to its end; raises SupervisorError if it fails."""
        name = arguments[0]
        self.report(f"{name} ...")
        with self._open_log(name) as log:
            child = spawn(
                manage(*arguments),
                env=self._environment,
                cwd=PROJECT_ROOT,
                output=log,
                death_signal=signal.SIGTERM,
            )
            try:
                status = child.wait(timeout=STEP_SECONDS)
            except BaseException:
                end_child(child, ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)))
                raise
        if status != 0:
            path = self._log_path(name)
            raise SupervisorError(
                f"`manage.py {' '.join(arguments)}` failed (exit {status}); "
                f"the end of {path}:\n{log_tail(path, lines=30)}"
            )

    # -- inside ---------------------------------------------------------------------------------

    def _start_services(self) -> None:
        given = [name for name in URL_VARIABLES if self._environment.get(name)]
        if len(given) == 1:
            raise SupervisorError(
                f"only {given[0]} is set: set both DATABASE_URL and REDIS_URL to use your own "
                f"servers, or neither to use the embedded ones"
            )
        for folder in (self.base_dir, self.base_dir / "log", self.base_dir / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (PROJECT_ROOT / "var" / "static").mkdir(exist_ok=True)  # whitenoise warns without it
        self._status_path().unlink(missing_ok=True)
        if given:
            self.report("using DATABASE_URL and REDIS_URL")
            return
        self.report("embedded PostgreSQL and Valkey ...")
        services = EmbeddedServices(self.base_dir)
        urls: ServiceUrls = services.start(fresh=self._fresh)
        self.services = services
        self._environment.update(urls.environment())

    def _complete_environment(self) -> None:
        self._environment.setdefault("DJANGO_SETTINGS_MODULE", "quantleap.settings.local")
        for name, address in self.layout.simulator_urls.items():
            self._environment.setdefault(name, address)
        self._environment[VAR_DIR_VARIABLE] = str(self.base_dir)
        self._environment["QUANTLEAP_BASE_URL"] = self.layout.url
        self._environment["PYTHONUNBUFFERED"] = "1"
        if self._clock_start:
            # One anchor for all parts, so that they agree to the microsecond, restarts included.
            self._environment["QUANTLEAP_CLOCK_START"] = self._clock_start
            anchor = time.time()
            self._environment["QUANTLEAP_CLOCK_ANCHOR"] = repr(anchor)
            self._environment["QUANTLEAP_CLOCK_FILE"] = str(self._share_clock(anchor))

    def _share_clock(self, anchor: float) -> Path:
        """The file by which the clock of living processes can be moved (docs/adr/0044)."""
        begin = dt.datetime.fromisoformat(str(self._clock_start))
        begin = begin if begin.tzinfo else begin.replace(tzinfo=ZoneInfo("Asia/Kolkata"))
        path = self.base_dir / "run" / "clock"
        # Overwritten, never replaced: processes that have mapped it would keep the old one.
        with path.open("r+b" if path.exists() else "w+b") as shared:
            shared.write(struct.pack("<d", begin.timestamp() - anchor))
        return path

    def _servers(self) -> list[Server]:
        if self.services is None:
            return []
        return [self.services.postgres, self.services.valkey]

    def _restart_server(self, server: Server) -> None:
        failures = self._failures.setdefault(server.name, _Failures())
        if self.services is None or time.monotonic() < failures.retry_at:
            return
        self.report(f"{server.name} ended; starting it again")
        try:
            self.services.restart(server)
        except EmbeddedServiceError as error:
            wait = failures.back_off.failed()
            failures.retry_at = time.monotonic() + wait
            self.report(f"{error}\n{server.name}: next attempt in {wait:g} s")
        else:
            self._failures.pop(server.name)
            self._write_status()

    def _look_at_part(self, name: str) -> None:
        running = self._running.get(name)
        failures = self._failures.setdefault(name, _Failures())
        if running is None:
            if failures.retry_at and time.monotonic() >= failures.retry_at:
                failures.retry_at = 0.0
                self.start_process(name)
                self._write_status()
            return
        status = running.child.poll()
        if status is None:
            return
        del self._running[name]
        self._end_group(running)
        wait = failures.back_off.ended(status, time.monotonic() - running.started)
        if not wait:
            self.report(f"{name} was stopped; starting it again")
            self.start_process(name)
            self._write_status()
            return
        failures.retry_at = time.monotonic() + wait
        self.report(f"{name} ended ({_describe(status)}); starting it again in {wait:g} s")
        if failures.back_off.failures > 2:
            self.report(log_tail(self._log_path(name), lines=5))

    def _end_group(self, running: _Running) -> None:
        """End what a dead part left (gunicorn's workers hold the port); its group is its own."""
        signal_quietly(running.child.pid, signal.SIGKILL, group=True)
        if self.services is not None:
            self.services.record.remove(running.part.name)

    def _log_path(self, name: str) -> Path:
        return self.logs.path(name)

    @contextmanager
    def _open_log(self, name: str) -> Iterator[int]:
        with self._log_path(name).open("ab") as handle:
            yield handle.fileno()

    def _status_path(self) -> Path:
        return self.base_dir / "run" / "ready.json"

    def _write_status(self) -> None:
        """For clients outside the project: addresses, and which pid is what."""
        status = {
            "url": self.layout.url,
            "simulator": self.layout.simulator_urls,
            "host": LOOPBACK,
            "supervisor": os.getpid(),
            "pids": self.pids(),
        }
        write_private(self._status_path(), json.dumps(status, indent=2) + "\n")
        write_private(self._shell_path(), self._shell_lines())

    def _shell_path(self) -> Path:
        return self.base_dir / "run" / "environment.sh"

    def _shell_lines(self) -> str:
        """``export`` lines for a shell to read with ``.``; a variable that is not set here is unset
        there."""
        lines = [
            f"export {name}={shlex.quote(self._environment[name])}"
            if name in self._environment
            else f"unset {name}"
            for name in SHELL_VARIABLES
        ]
        return "\n".join(lines) + "\n"


def _describe(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit {status}"
