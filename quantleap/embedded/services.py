"""Both servers together, under one lock and one record."""

from __future__ import annotations

import signal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from quantleap.embedded import postgres, valkey
from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.folders import remove_socket_folder, server_account
from quantleap.embedded.postgres import APPLICATION_ROLE, OWNER_ROLE, PostgresServer
from quantleap.embedded.processes import end_pid
from quantleap.embedded.server import Server
from quantleap.embedded.state import (
    ProcessRecord,
    RunLock,
    ServiceUrls,
    remove_services,
    write_services,
)
from quantleap.embedded.valkey import ValkeyServer

END_LEFTOVER: Final = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


class EmbeddedServices:
    """The embedded PostgreSQL and Valkey of one folder.

    ``base_dir`` is created if missing and holds ``pg/``, ``valkey/``, ``log/`` and ``run/``.
    ``durable`` True (runs, the demo, kill tests) survives ``kill -9`` and power cuts; False (the
    parallel test stage) survives ``kill -9`` of processes only, and is faster.

    Use as a context manager or call ``start`` and ``stop``. Servers die with the process that
    started them.
    """

    def __init__(self, base_dir: Path, *, durable: bool = True) -> None:
        self.base_dir = base_dir.absolute()
        self._durable = durable
        self._lock = RunLock(self.base_dir)
        self._started = False
        self.record = ProcessRecord(self.base_dir)
        self.postgres: PostgresServer
        self.valkey: ValkeyServer

    def start(self, *, fresh: bool = False) -> ServiceUrls:
        """Start both servers and return their addresses.

        Ends what a killed earlier run left behind; ``fresh`` then empties both servers for good.
        Raises AlreadyRunning if a living process runs this folder's services, EmbeddedServiceError
        for everything else that stops a start.
        """
        self.base_dir.mkdir(parents=True, exist_ok=True)
        for name in ("run", "log"):
            (self.base_dir / name).mkdir(mode=0o700, exist_ok=True)
        self._lock.acquire()
        try:
            self._end_leftovers()
            run_as = server_account(self.base_dir, [postgres.program("postgres"), valkey.program()])
            self.postgres = PostgresServer(self.base_dir, durable=self._durable, run_as=run_as)
            self.valkey = ValkeyServer(self.base_dir, durable=self._durable, run_as=run_as)
            self._started = True
            if fresh:
                self.postgres.erase()
                self.valkey.erase()
            for server in (self.postgres, self.valkey):
                self._start_one(server)
        except BaseException:
            self.stop()
            raise
        write_services(self.base_dir, self.urls)
        return self.urls

    @property
    def urls(self) -> ServiceUrls:
        """The addresses of the started servers; they stay the same over a restart of either."""
        return ServiceUrls(
            owner_database_url=self.postgres.url(OWNER_ROLE),
            database_url=self.postgres.url(APPLICATION_ROLE),
            redis_url=self.valkey.url(),
        )

    def mark_stopping(self) -> None:
        """Say that ``stop`` will follow soon, so that a second start waits instead of refusing."""
        self._lock.mark_stopping()

    def stop(self) -> None:
        """Stop both servers, remove temporary folders and the published addresses."""
        if self._started:
            self.mark_stopping()
            remove_services(self.base_dir)
            for server in (self.valkey, self.postgres):
                server.stop()
                self.record.remove(server.name)
            self._temporary_folders().unlink(missing_ok=True)
            self._started = False
        self._lock.release()

    def restart(self, server: Server) -> None:
        """Start ``server`` (one of the two) again at its old address after it ended."""
        server.restart()
        self.record.add(server.name, server.pid, server.command)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_one(self, server: Server) -> None:
        server.start()
        self.record.add(server.name, server.pid, server.command)
        if server.sockets is not None and server.sockets_are_temporary:
            with self._temporary_folders().open("a") as handle:
                handle.write(f"{server.sockets}\n")

    def _end_leftovers(self) -> None:
        """End the recorded processes of a killed supervisor, servers last, and its folders."""
        servers = {PostgresServer.name: postgres.FAST_SHUTDOWN, ValkeyServer.name: valkey.SHUTDOWN}
        left = self.record.leftovers()
        for name in sorted(left, key=lambda name: name in servers):
            end_pid(left[name], servers.get(name, END_LEFTOVER))
        listed = self._temporary_folders()
        if listed.exists():
            for line in listed.read_text().splitlines():
                remove_socket_folder(Path(line))
            listed.unlink()

    def _temporary_folders(self) -> Path:
        return self.base_dir / "run" / "socket-folders"


def start_first_free(parent: Path, *, durable: bool) -> EmbeddedServices:
    """Start services in the first numbered folder below ``parent`` that nobody is running.

    Test runs at the same time in one clone each get servers of their own, and a later run reuses
    the folders instead of creating new ones.
    """
    for number in range(64):
        services = EmbeddedServices(parent / str(number), durable=durable)
        if RunLock(services.base_dir).is_held():
            continue
        services.start()
        return services
    raise EmbeddedServiceError(f"64 runs are already using the folders below {parent}")
