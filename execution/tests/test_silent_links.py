"""Links to the database that go silent are given up in seconds, and new ones are tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from execution.engine.executor import Executor
from execution.models import ShardLease
from execution.tests.forwarder import Forwarder
from execution.tests.installation import ExecutorThread
from quantleap.core import clock
from quantleap.core.postgres.base import DatabaseWrapper

pytestmark = pytest.mark.process
PATIENCE = 90.0


@pytest.fixture
def forwarder(transactional_db: None) -> Iterator[Forwarder]:
    """Between this process's other threads and the database."""
    proxy = Forwarder()
    direct = {name: connection.settings_dict[name] for name in proxy.settings()}
    yield proxy
    connection.settings_dict.update(direct)
    connection.close()  # this thread's may lead through it, too
    proxy.close()


def wait_for(condition: Callable[[], bool]) -> bool:
    """Poll, bounded."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_an_answer_that_never_comes_is_given_up(forwarder: Forwarder) -> None:
    """The client's patience ends the wait. The server's own limit never strikes, because the
    statement never arrived."""
    given = {**connection.settings_dict, **forwarder.settings()}
    given["OPTIONS"] = {**given["OPTIONS"], "patience": 0.5}
    link = DatabaseWrapper(given, alias="silent")
    with link.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert forwarder.silence() == 1
        with pytest.raises(OperationalError, match="said nothing for"):
            cursor.execute("SELECT 1")
    link.close()
    with link.cursor() as cursor:
        cursor.execute("SELECT 2")
        assert cursor.fetchone() == (2,)
    link.close()


def test_an_executor_whose_links_went_silent_was_fenced_for_ever(
    forwarder: Forwarder,
) -> None:
    """Seen: no link was reset, none answered, and a new one would have in 9 ms."""
    connection.settings_dict.update(forwarder.settings())
    host = ExecutorThread("silent")
    host.start()

    def executor() -> Executor:
        assert host.executor is not None
        return host.executor

    try:
        assert wait_for(
            lambda: host.executor is not None and len(host.executor.ownership.tokens) == 8
        )
        assert wait_for(lambda: not executor().control.current.blocked(0, clock.monotonic(), 5.0))
        assert forwarder.silence() >= 3
        silent = clock.monotonic()

        def reads_again() -> bool:
            """Heartbeat, kill switch, and the threads that write have each found a new link."""
            return (
                executor().ownership.heartbeat_mono > silent
                and executor().control.current.read_mono > silent
            )

        assert wait_for(reads_again), vars(executor().control.current)
        assert not executor().ownership.fenced()
        assert len(executor().ownership.tokens) == 8
        before: Any = set(ShardLease.objects.values_list("shard", "token"))
        later = clock.monotonic()
        assert wait_for(lambda: executor().ownership.heartbeat_mono > later)
        assert set(ShardLease.objects.values_list("shard", "token")) == before, "never lost"
    finally:
        host.stop(60.0)
