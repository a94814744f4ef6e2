"""A database that stands still around an entry second, in a running executor."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
from django.db import connection

from execution.models import Execution, OrderIntent, Run
from execution.tests.forwarder import Forwarder
from execution.tests.installation import (
    Installation,
    assert_filled,
    open_at_brokers,
    runs_closed,
    start_executor,
    wait_until,
)
from marketplace.tests.factories import make_iron_condor
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
#: Longer than a reading of the kill switch may be old, shorter than the grace.
FROZEN = 5.8


@pytest.fixture
def forwarder(installation: Installation) -> Iterator[Forwarder]:
    """Between the executor's threads and the database; this thread has its own link."""
    proxy = Forwarder()
    direct = {name: connection.settings_dict[name] for name in proxy.settings()}
    connection.ensure_connection()
    connection.settings_dict.update(proxy.settings())
    yield proxy
    connection.settings_dict.update(direct)
    proxy.close()


def test_a_frozen_database_had_bought_hedges_unwound(
    installation: Installation, forwarder: Forwarder
) -> None:
    """Seen in 5 of 5 rounds: after a freeze half a second before the entry the switch had not been
    read for five seconds, and all hedges were sold again (CONTROL_UNREACHABLE)."""
    installation.subscribe(make_iron_condor(strategy=installation.entry_in(10, 20)), 4)
    host = start_executor("frozen")
    try:
        wait_until(lambda: Execution.objects.filter(status="ARMED").count() == 4, 20)
        frozen_at = Run.objects.get().entry_at - dt.timedelta(seconds=0.5)
        wait_until(lambda: clock.now() >= frozen_at, 20)
        forwarder.stand_still()
        thaw = threading.Timer(FROZEN, forwarder.go_on)
        thaw.start()
        wait_until(runs_closed, 60)
        thaw.join()
    finally:
        host.stop(30.0)
    assert set(Execution.objects.values_list("status", "cause")) == {("CLOSED", "")}
    assert not OrderIntent.objects.filter(purpose="UNWIND").exists()
    entries = OrderIntent.objects.filter(purpose="ENTRY")
    assert entries.count() == 16
    assert_filled(entries)
    assert (
        len({order["tag"] for order in installation.control.orders()})
        == OrderIntent.objects.count()
    )
    assert open_at_brokers(installation.control) == []
