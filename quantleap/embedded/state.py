"""What a run leaves on disk for others: addresses, and its own processes."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from quantleap.embedded.errors import AlreadyRunning
from quantleap.embedded.processes import command_line, is_alive

PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
GRACE_SECONDS: Final = 2.0
STOPPING_SECONDS: Final = 90.0
STOPPING: Final = "stopping"
VAR_DIR_VARIABLE: Final = "QUANTLEAP_VAR_DIR"


@dataclass(frozen=True)
class ServiceUrls:
    """Where the servers answer.

    ``database_url`` is the application role's, ``owner_database_url`` the owner role's (migrations
    only), both ``postgres://ROLE@/quantleap?host=FOLDER``; ``redis_url`` is
    ``unix://PATH?db=N``.
    """

    owner_database_url: str
    database_url: str
    redis_url: str

    def environment(self) -> dict[str, str]:
        """The three settings variables that a child process needs."""
        return {
            "OWNER_DATABASE_URL": self.owner_database_url,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
        }


def default_base_dir() -> Path:
    """``QUANTLEAP_VAR_DIR``, or ``var/`` in the project."""
    return Path(os.environ.get(VAR_DIR_VARIABLE) or PROJECT_ROOT / "var").resolve()


def discover(base_dir: Path | None = None) -> ServiceUrls | None:
    """The addresses of services that are running now in ``base_dir``; None if none are.

    A file left by a killed run does not count: its supervisor has to be alive and be the process
    that wrote it.
    """
    path = _services_path(base_dir or default_base_dir())
    try:
        content = json.loads(path.read_text())
        supervisor = content["supervisor"]
        urls = ServiceUrls(**content["urls"])
        pid, command = int(supervisor["pid"]), str(supervisor["command"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not is_alive(pid) or command_line(pid) != command:
        return None
    return urls


def write_services(base_dir: Path, urls: ServiceUrls) -> None:
    """Publish the running services, readable by this account only."""
    record = {
        "supervisor": {"pid": os.getpid(), "command": command_line(os.getpid())},
        "urls": asdict(urls),
    }
    write_private(_services_path(base_dir), json.dumps(record, indent=2) + "\n")


def remove_services(base_dir: Path) -> None:
    """Withdraw what ``write_services`` published."""
    _services_path(base_dir).unlink(missing_ok=True)


def _services_path(base_dir: Path) -> Path:
    return base_dir / "run" / "services.json"


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` in one step by a 0600 file holding ``text``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    draft.replace(path)


class ProcessRecord:
    """Names, pids and command lines of a run's processes (``run/processes.json``).

    Written on every start, so that the next start can end what a killed supervisor left behind.
    """

    def __init__(self, base_dir: Path) -> None:
        self._path = base_dir / "run" / "processes.json"
        self._processes: dict[str, dict[str, str | int]] = {}

    def add(self, name: str, pid: int, command: Sequence[str]) -> None:
        """Remember a process just started under ``name``; replaces an earlier one."""
        self._processes[name] = {"pid": pid, "command": " ".join(command)}
        self._write()

    def remove(self, name: str) -> None:
        """Forget a process that has ended."""
        if self._processes.pop(name, None) is not None:
            self._write()

    def leftovers(self) -> dict[str, int]:
        """Processes of an earlier run that are alive and still what they were: name to pid."""
        try:
            stored = json.loads(self._path.read_text())
            entries = {
                str(name): (int(entry["pid"]), str(entry["command"]))
                for name, entry in stored.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}
        return {
            name: pid
            for name, (pid, command) in entries.items()
            if command and pid != os.getpid() and is_alive(pid) and command_line(pid) == command
        }

    def _write(self) -> None:
        write_private(self._path, json.dumps(self._processes, indent=2) + "\n")


class RunLock:
    """One living supervisor per folder: an flock on ``run/supervisor.lock``.

    The kernel releases it when the holder dies in any way, so it cannot go stale; the pid inside is
    only for the message.
    """

    def __init__(self, base_dir: Path) -> None:
        self._base_dir = base_dir
        self._path = base_dir / "run" / "supervisor.lock"
        self._handle: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; raises AlreadyRunning if another living process holds it.

        A holder that is on its way out (it said so, or its starter was just killed) is waited for.
        """
        started = time.monotonic()
        while True:
            try:
                return self._try_acquire()
            except AlreadyRunning as error:
                waited = time.monotonic() - started
                patience = STOPPING_SECONDS if error.stopping else GRACE_SECONDS
                if error.pid == os.getpid() or waited > patience:
                    raise
            time.sleep(0.1)

    def mark_stopping(self) -> None:
        """Tell a second start that this one is about to release the lock."""
        if self._handle is not None:
            self._handle.write(f" {STOPPING}")
            self._handle.flush()

    def _try_acquire(self) -> None:
        handle = open(self._path, "a+", encoding="ascii")  # noqa: SIM115 - held until release
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            words = handle.read().split()
            handle.close()
            pid = int(words[0]) if words and words[0].isdigit() else None
            raise AlreadyRunning(str(self._base_dir), pid, stopping=STOPPING in words) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._handle = handle

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._handle is not None:
            self._handle.truncate(0)
            self._handle.close()
            self._handle = None

    def holder(self) -> int | None:
        """The pid of the living holder; None if the lock is free or the pid not yet written."""
        try:
            self._probe()
        except AlreadyRunning as error:
            return error.pid
        return None

    def is_held(self) -> bool:
        """True if a living process holds the lock."""
        try:
            self._probe()
        except AlreadyRunning:
            return True
        return False

    def _probe(self) -> None:
        probe = RunLock(self._base_dir)
        try:
            probe._try_acquire()
        except FileNotFoundError:
            return  # never used
        probe.release()
