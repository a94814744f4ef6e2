"""Start a fresh installation with ``manage.py up``, watch it, and always stop it."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from clients.ports import NoFreePortsError, claim_block

ROOT: Final = Path(__file__).resolve().parent.parent.parent
START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 60.0
SHARD: Final = re.compile(r'"shard": (\d+)\b.*"event": "shard_(claimed|lost)"')
FORGOTTEN: Final = ("DATABASE_URL", "REDIS_URL", "OWNER_DATABASE_URL", "DJANGO_SETTINGS_MODULE")


class InstallationError(RuntimeError):
    """A part did not start, or ended by itself; the message names it, with the end of its log."""


@dataclass
class Installation:
    """One installation below ``base_dir``, with its own ports and its own clock.

    Without ``port`` and ``simulator_port`` (control; the brokers' follow) free ones are chosen.
    ``seed`` fills it as ``make run`` does; ``workers`` workers have an executor each.
    """

    base_dir: Path
    clock_start: str
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    simulator_port: int | None = None
    seed: bool = False
    workers: int = 1
    url: str = ""
    simulator: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._ports: socket.socket | None = None

    @property
    def log_path(self) -> Path:
        """The log of ``manage.py up``."""
        return self.base_dir / "log" / "up.log"

    # -- life --------------------------------------------------------------------------------
    def start(self) -> None:
        """Start everything with empty servers; returns when all parts answer."""
        ready = self.base_dir / "run" / "ready.json"
        self.log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        ready.unlink(missing_ok=True)
        for old in self.log_path.parent.glob("*.log"):
            old.unlink()
        port, simulator_port = self._choose_ports()
        command = (
            *(sys.executable, str(ROOT / "manage.py"), "up", "--fresh"),
            *(() if self.seed else ("--no-seed",)),
            *("--base-dir", str(self.base_dir), "--clock-start", self.clock_start),
            *("--port", str(port), "--simulator-port", str(simulator_port), "--die-with-parent"),
            *("--workers", str(self.workers)),
        )
        self._log = self.log_path.open("ab")
        self._child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us, so that we stop the parts in order
        )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            self.check()
            if time.monotonic() > deadline:
                raise InstallationError(f"not ready after {START_SECONDS:.0f} s{self.tail()}")
            time.sleep(0.1)
        addresses = json.loads(ready.read_text())
        self.url, self.simulator = addresses["url"], addresses["simulator"]

    def _choose_ports(self) -> tuple[int, int]:
        if self.port is not None and self.simulator_port is not None:
            return self.port, self.simulator_port
        try:
            port, self._ports = claim_block()
        except NoFreePortsError as error:
            raise InstallationError(str(error)) from error
        return self.port or port, self.simulator_port or port + 1

    def stop(self) -> None:
        """Stop everything; no effect if it has not started or has ended."""
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._ports is not None:
            self._ports.close()
            self._ports = None

    def check(self) -> None:
        """Raise InstallationError if it has ended, or if one of its parts has."""
        child = self._child
        if child is None or child.poll() is not None:
            raise InstallationError(f"the installation ended by itself{self.tail()}")
        for line in self.log_path.read_text(errors="replace").splitlines():
            if " ended (" in line or line.endswith("ended; starting it again"):
                part = line.split(" ", 1)[0]
                raise InstallationError(f"{line}{tail(self.log_path.with_name(f'{part}.log'))}")

    def is_up(self) -> bool:
        """Whether it runs; it restarts parts that end."""
        return self._child is not None and self._child.poll() is None

    def read(self, name: str) -> dict[str, Any]:
        """One of the JSON files that its seed wrote (keys, passwords)."""
        content: dict[str, Any] = json.loads((self.base_dir / "run" / name).read_text())
        return content

    def shards(self) -> dict[str, set[int]]:
        """Executor name -> the shards that it has now, from the log."""
        held: dict[str, set[int]] = {}
        for path in sorted(self.log_path.parent.glob("executor*.log")):
            mine = held[path.stem] = set()
            for line in path.read_text(errors="replace").splitlines():
                match = SHARD.search(line)
                if match is not None:
                    (mine.add if match[2] == "claimed" else mine.discard)(int(match[1]))
        return held

    def tail(self) -> str:
        """The end of its log."""
        return tail(self.log_path)

    # -- operators' commands -------------------------------------------------------------------
    def environment(self) -> dict[str, str]:
        """Environment of all processes: the caller's, without variables that name other servers."""
        variables = {name: value for name, value in os.environ.items() if name not in FORGOTTEN}
        return {**variables, **self.settings, "PYTHONUNBUFFERED": "1"}

    def command(self, *arguments: str, now: dt.datetime, may_end_with: int = 0, **more: str) -> str:
        """Run one management command as an operator of this installation; returns its output.

        Raises InstallationError for an exit status that is neither 0 nor ``may_end_with``.
        """
        environment = {
            **self.environment(),
            **self.simulator,
            "QUANTLEAP_VAR_DIR": str(self.base_dir),
            "QUANTLEAP_CLOCK_START": now.isoformat(),
            **more,
        }
        done = subprocess.run(
            (sys.executable, str(ROOT / "manage.py"), *arguments),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, may_end_with):
            said = (done.stderr or done.stdout).strip().splitlines()[-15:]
            lines = "\n".join(said)
            raise InstallationError(f"manage.py {' '.join(arguments)} failed:\n{lines}")
        return done.stdout

    def run_reports(self, day: dt.date, now: dt.datetime) -> list[dict[str, Any]]:
        """Scorecards of a day's runs, as the platform's operators get them."""
        text = self.command("run_report", "--json", "--date", day.isoformat(), now=now)
        runs: list[dict[str, Any]] = json.loads(text)["runs"]
        return runs

    def bill(self, as_of: dt.date, now: dt.datetime) -> int:
        """Start the billing run by hand; returns the number of invoices that it reports."""
        said = self.command("bill", "--as-of", as_of.isoformat(), now=now)
        match = re.search(r": (\d+|No) invoices?, ", said)
        if match is None:
            raise InstallationError(f"manage.py bill said no number: {said.strip()}")
        return 0 if match[1] == "No" else int(match[1])

    def check_ledger(self, now: dt.datetime) -> dict[str, Any]:
        """The ledger's trial balance and checks; status 1 means that there are findings."""
        said: dict[str, Any] = json.loads(
            self.command("check_ledger", "--json", now=now, may_end_with=1)
        )
        return said


def tail(path: Path, lines: int = 15) -> str:
    """The end of a log, for an error message."""
    if not path.exists():
        return ""
    last = path.read_text(errors="replace").splitlines()[-lines:]
    return f"; the end of {path}:\n" + "\n".join(last)
