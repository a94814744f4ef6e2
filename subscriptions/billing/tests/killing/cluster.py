"""An installation of its own whose servers and workers die by ``kill -9``: start, copy, kill."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from quantleap.embedded import EmbeddedServices
from quantleap.embedded.postgres import (
    APPLICATION_ROLE,
    DATABASE,
    OWNER_ROLE,
    SOCKET_PORT,
    SUPERUSER,
)
from quantleap.embedded.processes import pids_in_folder, signal_quietly, spawn, wait_until
from quantleap.embedded.server import log_tail
from quantleap.embedded.state import PROJECT_ROOT, VAR_DIR_VARIABLE
from quantleap.supervisor import Layout, environment_without_servers
from quantleap.supervisor.parts import manage

PATIENCE: Final = 60.0
#: Exit status of a worker of the driver whose database went away.
DATABASE_LOST: Final = 3

Worker = subprocess.Popen[bytes]

#: Sequences that were never drawn from log their first draw anyway.
_LOG_SEQUENCES: Final = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, last_value)
  FROM pg_sequences WHERE last_value IS NOT NULL
"""


class ClusterError(RuntimeError):
    """Something did not come, or did not end, in time."""


class Cluster:
    """Servers below ``base_dir`` with the installation's tables, and the driver beside them."""

    def __init__(self, base_dir: Path, *, chunk: int) -> None:
        shutil.rmtree(base_dir, ignore_errors=True)
        self.base_dir = base_dir
        self.chunk = chunk
        self.services = EmbeddedServices(base_dir)

    def __enter__(self) -> Cluster:
        urls = self.services.start(fresh=True)
        self._environment = {
            **environment_without_servers(),
            **urls.environment(),
            VAR_DIR_VARIABLE: str(self.base_dir),
            "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
            "QUANTLEAP_BILLING_CHUNK": str(self.chunk),
            "QUANTLEAP_LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
        }
        try:
            if self.manage("migrate").wait(600) != 0:
                raise ClusterError(log_tail(self._log("migrate")))
            self.copy(DATABASE, "empty")
            self._start_driver()
        except BaseException:
            self.services.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for stream in (self._driver.stdin, self._driver.stdout):
            if stream is not None:
                stream.close()
        try:
            self._driver.wait(20)
        finally:
            self.services.stop()

    # -- the database ---------------------------------------------------------------------------

    def connect(self, database: str = DATABASE) -> psycopg.Connection[tuple[Any, ...]]:
        """As the superuser, each statement its own transaction."""
        return psycopg.connect(
            host=str(self.services.postgres.sockets),
            port=SOCKET_PORT,
            user=SUPERUSER,
            dbname=database,
            autocommit=True,
        )

    def ask(self, question: str) -> Sequence[tuple[Any, ...]]:
        """The rows of one question on a connection of its own."""
        with self.connect() as session:
            return session.execute(question.encode()).fetchall()

    def copy(self, source: str, target: str) -> None:
        """Make the database ``target`` what ``source`` is, sequences included, also after a kill.

        PostgreSQL logs a sequence 32 numbers ahead, and a copied database begins in the middle of
        such a stretch: the copy draws numbers of which nothing was logged, and after a crash draws
        them again. ``setval`` makes the next draw log.
        """
        names = sql.Identifier(target), sql.Identifier(OWNER_ROLE), sql.Identifier(source)
        with self.connect("postgres") as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(names[0]))
            session.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(*names))
        with self.connect(target) as session:
            session.execute(_LOG_SEQUENCES)

    def settled(self) -> None:
        """Return once the application has no open transaction: what was killed is rolled back."""

        def quiet() -> bool:
            rows = self.ask(
                "SELECT FROM pg_stat_activity "
                f"WHERE usename = '{APPLICATION_ROLE}' AND xact_start IS NOT NULL"
            )
            return not rows

        if not wait_until(quiet, PATIENCE):
            raise ClusterError("a transaction of a dead worker stays open")

    @contextmanager
    def gate(self, workers: int) -> Iterator[None]:
        """Workers that are started inside the block begin to bill together at its end.

        Before its first chunk each has to look at the number series, which are locked until all
        of them wait there.
        """
        with self.connect() as session:
            session.execute("BEGIN; LOCK TABLE billing_numberseries IN EXCLUSIVE MODE")
            yield
            waiting = (
                "SELECT FROM pg_locks WHERE NOT granted "
                "AND relation = 'billing_numberseries'::regclass"
            )
            if not wait_until(lambda: len(self.ask(waiting)) == workers, PATIENCE):
                raise ClusterError(f"not {workers} workers at the gate: {len(self.ask(waiting))}")
            session.execute("COMMIT")

    # -- workers --------------------------------------------------------------------------------

    def environment(self, now: dt.datetime) -> dict[str, str]:
        """Of a process that is started now and believes it is ``now``."""
        return {
            **self._environment,
            "QUANTLEAP_CLOCK_START": now.isoformat(),
            "QUANTLEAP_CLOCK_ANCHOR": repr(time.time()),
        }

    def manage(self, *arguments: str, now: dt.datetime | None = None) -> Worker:
        """``manage.py`` in a process of its own."""
        environment = self._environment if now is None else self.environment(now)
        return self._spawn(arguments[0], manage(*arguments), environment)

    def celery(self, name: str, now: dt.datetime) -> Worker:
        """A worker as the supervisor starts it, but with a queue of its own, called ``name``."""
        (part,) = (part for part in Layout().parts() if part.name == "worker")
        command = [f"{name}@%h" if word == "worker@%h" else word for word in part.command]
        command[command.index("-Q") + 1] = name
        return self._spawn(name, command, self.environment(now))

    def _spawn(self, name: str, command: Sequence[str], environment: dict[str, str]) -> Worker:
        with self._log(name).open("ab") as log:
            return spawn(
                command,
                env=environment,
                cwd=PROJECT_ROOT,
                output=log,
                death_signal=signal.SIGKILL,
            )

    def _log(self, name: str) -> Path:
        return self.base_dir / "log" / f"{name}.log"

    # -- kills ----------------------------------------------------------------------------------

    @staticmethod
    def kill(workers: Sequence[Worker]) -> None:
        """``kill -9`` them and whatever they started."""
        for worker in workers:
            signal_quietly(worker.pid, signal.SIGKILL, group=True)
        for worker in workers:
            worker.wait(PATIENCE)

    def kill_postgres(self) -> None:
        """``kill -9`` every process of the server at once."""
        postgres = self.services.postgres
        for pid in (postgres.pid, *self._backends()):
            signal_quietly(pid, signal.SIGKILL)
        postgres.kill()

    def kill_postmaster(self) -> None:
        """``kill -9`` the postmaster alone; its children notice and go."""
        self.services.postgres.kill()
        if not wait_until(lambda: not self._backends(), PATIENCE):
            raise ClusterError("orphans of the postmaster stay")

    def kill_backend(self, chance: random.Random) -> None:
        """``kill -9`` one worker's backend; the server throws out all others and recovers."""
        with self.connect() as session:
            rows = session.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = %s", [APPLICATION_ROLE]
            ).fetchall()
            signal_quietly(chance.choice(rows)[0], signal.SIGKILL)
            if not wait_until(lambda: not _lives(session), PATIENCE):
                raise ClusterError("the server survives the death of a backend")

    def start_postgres(self) -> None:
        """Start it again, unless it recovers by itself; returns once it answers."""
        if not self.services.postgres.is_running():
            self.services.restart(self.services.postgres)
        if not wait_until(self._answers, PATIENCE):
            raise ClusterError("PostgreSQL does not answer")

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _backends(self) -> list[int]:
        return pids_in_folder((self.services.postgres.folder / "data").resolve(), "postgres")

    # -- the driver -----------------------------------------------------------------------------

    def _start_driver(self) -> None:
        with self._log("driver").open("ab") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "subscriptions.billing.tests.killing.driver"],
                cwd=PROJECT_ROOT,
                env={**self._environment, "QUANTLEAP_LOG_LEVEL": "ERROR"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def tell(self, name: str, **arguments: Any) -> dict[str, Any]:
        """One command of the driver."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps({"do": name, **arguments}, default=str) + "\n")
        self._driver.stdin.flush()
        line = self._driver.stdout.readline()
        if not line:
            raise ClusterError(f"the driver died:\n{log_tail(self._log('driver'))}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run_job(self, job: str, day: dt.date, **options: Any) -> dict[str, Any]:
        """A job of the driver to its end: exit status, and labels if it got there."""
        worker = self.tell("work", job=job, day=day, **{"chunk": self.chunk, **options})
        return self.tell("wait", pid=worker["pid"])


def _lives(session: psycopg.Connection[tuple[Any, ...]]) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
