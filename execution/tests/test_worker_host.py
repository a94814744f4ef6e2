"""The executor is a process of its own: started without Redis, and started again whatever it does.

Seen: with Redis down when the worker started the executor never did, and after an unexpected error
of the database its thread was dead in a worker that lived.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from execution.engine.worker_host import ExecutorHost
from execution.models import ExecutorNode
from quantleap.embedded.processes import end_child, is_alive, wait_until
from quantleap.embedded.state import PROJECT_ROOT

pytestmark = pytest.mark.process
PATIENCE = 120.0  # for a machine that is very busy

#: Stands in for the executor: writes its process id down, then does what ``sys.argv[2]`` says.
TOY = """
import os, signal, socket, sys, time
line = socket.socket(fileno=int(sys.argv[sys.argv.index("--lifeline") + 1]))
with open(sys.argv[1], "a") as journal:
    journal.write(f"{os.getpid()}\\n")
how = sys.argv[2]
if how == "dies":
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
line.send(b".")
while how == "hangs":
    time.sleep(60)
while True:
    line.send(b".")
    time.sleep(0.05)
"""


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Callable[[str], tuple[ExecutorHost, Callable[[], int]]]]:
    """Host a toy that does as it is told; how often it has been started."""
    hosts: list[ExecutorHost] = []

    def start(how: str) -> tuple[ExecutorHost, Callable[[], int]]:
        journal = tmp_path / how
        journal.touch()
        host = ExecutorHost((sys.executable, "-c", TOY, str(journal), how), silence=2.0)
        hosts.append(host)
        host.start()
        return host, lambda: len(journal.read_text().splitlines())

    yield start
    for host in hosts:
        host.stop()


@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_whatever_dies_or_hangs_is_started_again(
    hosted: Callable[[str], tuple[ExecutorHost, Callable[[], int]]], how: str
) -> None:
    _, starts = hosted(how)
    assert wait_until(lambda: starts() >= 3, PATIENCE)


def test_a_frozen_executor_is_killed_and_another_one_started(
    hosted: Callable[[str], tuple[ExecutorHost, Callable[[], int]]],
) -> None:
    """Control: one that pulses is left alone for longer than the silence that is allowed."""
    host, starts = hosted("lives")
    assert wait_until(lambda: starts() == 1 and host.pid is not None, PATIENCE)
    time.sleep(3.0)
    assert starts() == 1
    frozen = host.pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    assert wait_until(lambda: starts() == 2, PATIENCE)
    assert not is_alive(frozen)
    host.stop()
    assert host.pid is None
    assert starts() == 2


# -- the real thing ------------------------------------------------------------------------------
def environment(**changes: str) -> dict[str, str]:
    """An installation whose database is this test's own and whose Redis does not answer."""
    parts = urlsplit(settings.DATABASE_URL)
    url = urlunsplit(parts._replace(path="/" + str(connection.settings_dict["NAME"])))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
        "DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "QUANTLEAP_LOG_LEVEL": "INFO",
        **changes,
    }


@contextlib.contextmanager
def worker(log: Path, **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker of the executor's queue."""
    command = (
        *(sys.executable, "-m", "celery", "-A", "quantleap", "worker", "-P", "threads", "-c", "1"),
        *("-Q", "execution", "-l", "INFO", "--without-gossip", "--without-mingle"),
    )
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment(**changes),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        end_child(child, ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0)))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def owners() -> set[str]:
    """The executors that announce themselves."""
    return set(ExecutorNode.objects.values_list("owner", flat=True))


def pid_of(owner: str) -> int:
    """The process that an executor is."""
    return int(owner.split(":")[1])


@pytest.mark.django_db(transaction=True)
def test_without_redis_the_executor_never_started(tmp_path: Path) -> None:
    """Redis was down when the worker started."""
    log = tmp_path / "worker.log"
    with worker(log) as started:
        assert wait_until(lambda: len(owners()) == 1, PATIENCE), log.read_text()
        (first,) = owners()
        assert pid_of(first) != started.pid
        # kill -9 of the executor alone: its worker starts another one
        os.kill(pid_of(first), signal.SIGKILL)
        assert wait_until(lambda: bool(owners() - {first}), PATIENCE), log.read_text()
        (second,) = owners() - {first}
        # kill -9 of the worker: its executor hands over and goes, too
        started.kill()
        assert wait_until(lambda: second not in owners(), PATIENCE), log.read_text()
        assert wait_until(lambda: not is_alive(pid_of(second)), PATIENCE), log.read_text()
    assert '"event": "executor_stopped"' in log.read_text()


@pytest.mark.django_db(transaction=True)
def test_sigterm_of_the_worker_is_a_clean_stop_of_its_executor(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with worker(log) as started:
        assert wait_until(lambda: len(owners()) == 1, PATIENCE), log.read_text()
        started.terminate()
        started.wait(PATIENCE)
    assert owners() == set()
    assert '"event": "executor_stopped"' in log.read_text()


@pytest.mark.django_db(transaction=True)
def test_a_database_error_left_a_dead_thread_behind(tmp_path: Path) -> None:
    """Without a table of leases, as before a migration, the executor dies; once it is there, a new
    one starts. Seen: the worker lived on without one."""
    log = tmp_path / "worker.log"
    away = "ALTER TABLE execution_shardlease RENAME TO execution_shardlease_away"
    back = "ALTER TABLE execution_shardlease_away RENAME TO execution_shardlease"
    owner_url = environment()["OWNER_DATABASE_URL"]
    import psycopg

    own = urlunsplit(
        urlsplit(owner_url)._replace(
            scheme="postgresql", path="/" + str(connection.settings_dict["NAME"])
        )
    )
    with psycopg.connect(own, autocommit=True) as session:
        session.execute(away)
        try:
            with worker(log):
                assert wait_until(lambda: "executor_ended" in log.read_text(), PATIENCE)
                session.execute(back)
                assert wait_until(lambda: len(owners()) == 1, PATIENCE), log.read_text()
        finally:
            if "execution_shardlease_away" in connection.introspection.table_names():
                session.execute(back)
