"""A hanging database costs a process a limited time, and web less than a billing run."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from django.conf import settings as configured
from django.db import OperationalError, connection

from quantleap.core.postgres.base import DatabaseWrapper
from quantleap.settings.databases import LIMITS, Limits, postgres
from quantleap.settings.process import PROCESS, ProcessKind, process_kind

QUICK = Limits(statement=0.2, lock=0.1, idle_in_transaction=0.2)


@contextlib.contextmanager
def connected(limits: Limits, **changes: Any) -> Iterator[DatabaseWrapper]:
    """A connection of its own to the tests' database."""
    database = postgres(configured.DATABASE_URL, limits=limits)
    values = {**connection.settings_dict, "OPTIONS": {**database["OPTIONS"], **changes}}
    other = DatabaseWrapper(values, alias="limits")
    try:
        yield other
    finally:
        other.close()


def test_each_kind_of_process_has_limits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long billing statements are a worker's, a person waits for web, migrations take long."""
    web, worker = LIMITS[ProcessKind.WEB], LIMITS[ProcessKind.WORKER]
    assert 0 < web.statement < worker.statement
    assert 0 < web.lock < worker.lock
    assert 0 < web.idle_in_transaction < worker.idle_in_transaction
    assert LIMITS[ProcessKind.COMMAND] == Limits(0, 0, 0)
    monkeypatch.setenv(PROCESS, "worker")
    assert process_kind() is ProcessKind.WORKER


def test_what_the_address_says_wins() -> None:
    url = (
        "postgres://a@b:5433/c?connect_timeout=2&sslmode=verify-full&options=-c%20lock_timeout%3D7"
    )
    database = postgres(url, limits=Limits(lock=9))
    assert (database["OPTIONS"]["connect_timeout"], database["OPTIONS"]["sslmode"]) == (
        "2",
        "verify-full",
    )
    assert database["OPTIONS"]["options"].endswith("-c lock_timeout=7")
    assert database["PORT"] == "5433"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", list(ProcessKind))
def test_the_server_knows_the_limits(kind: ProcessKind) -> None:
    limits = LIMITS[kind]
    with connected(limits) as other, other.cursor() as cursor:
        shown = []
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute("SELECT setting::int / 1000 FROM pg_settings WHERE name = %s", [name])
            shown.append(cursor.fetchone()[0])
    assert shown == [limits.statement, limits.lock, limits.idle_in_transaction]


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_hangs_is_cut_and_the_session_goes_on() -> None:
    with connected(QUICK) as other, other.cursor() as cursor:
        with pytest.raises(OperationalError, match="statement timeout"):
            cursor.execute("SELECT pg_sleep(60)")
        cursor.execute("SELECT 1")
    with connected(Limits()) as other, other.cursor() as cursor:  # the control: no limit, no cut
        cursor.execute("SELECT pg_sleep(0.4)")


@pytest.mark.django_db(transaction=True)
def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever() -> None:
    with connected(Limits()) as holder, connected(QUICK) as waiter:
        with holder.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(4711)")
        with waiter.cursor() as cursor, pytest.raises(OperationalError, match="lock timeout"):
            cursor.execute("SELECT pg_advisory_lock(4711)")


@pytest.mark.django_db(transaction=True)
def test_who_stays_in_a_transaction_loses_it() -> None:
    with connected(QUICK) as other:
        other.ensure_connection()
        raw = other.connection
        raw.autocommit = False
        raw.execute("SELECT 1")
        # The server closes the connection: that is what there is to read.
        assert select.select([raw.fileno()], [], [], 30)[0]
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            raw.execute("SELECT 1")


@pytest.mark.django_db
def test_a_server_that_accepts_and_says_nothing_is_given_up() -> None:
    """libpq counts in whole seconds and takes 2 at least."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = postgres(f"postgres://a@127.0.0.1:{port}/b?connect_timeout=2&sslmode=disable")
        assert postgres("postgres://a@b/c")["OPTIONS"]["connect_timeout"] == 5
        other = DatabaseWrapper(
            {**connection.settings_dict, **database, "AUTOCOMMIT": True}, "silent"
        )
        with pytest.raises(OperationalError, match="timeout"):
            other.ensure_connection()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_is_gone_is_noticed_by_the_socket() -> None:
    """Unix sockets have no such options, so the connection is made through a port."""
    with forwarded_port() as port, connected(Limits(), sslmode="disable") as other:
        other.settings_dict.update(HOST="127.0.0.1", PORT=str(port))
        other.ensure_connection()
        wire = socket.socket(fileno=socket.dup(other.connection.fileno()))
        with wire:
            timeout = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            alive = wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert (timeout, alive, idle) == (15_000, 1, 15)


@contextlib.contextmanager
def forwarded_port() -> Iterator[int]:
    """A loopback port that leads one connection to the tests' PostgreSQL."""
    folder = parse_qs(urlsplit(configured.DATABASE_URL).query)["host"][0]
    server = socket.socket(socket.AF_UNIX)
    with socket.create_server(("127.0.0.1", 0)) as listener, server:

        def forward() -> None:
            client, _ = listener.accept()
            server.connect(f"{folder}/.s.PGSQL.5432")
            with client:
                while True:
                    for end in select.select([client, server], [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        (server if end is client else client).sendall(data)

        thread = threading.Thread(target=forward)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
