"""Settings of this room's property tests, and a trading day with a broker of its own.

What needs Django is imported in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a slow machine is not a wrong rule.
settings.register_profile("execution", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("execution")

if TYPE_CHECKING:
    from django.test import Client

    from execution.models import Run
    from execution.state import LiveExecution
    from execution.tests.consoleday import Day
    from execution.tests.installation import Installation, SimulatorThread
    from subscriptions.models import Subscription


def pytest_report_header() -> str:
    """Which stories this run tells: a story is told again by its seed."""
    seed, stories = os.environ.get("SEED") or "1", os.environ.get("STORIES") or "their own number"
    return f"stories (of holds, of trading days): SEED={seed}, STORIES={stories}"


@pytest.fixture
def simulator(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorThread]:
    """The brokers, at 10:00:00 IST of an ordinary Tuesday."""
    from execution.tests.installation import DAY, SimulatorThread, broker_settings
    from quantleap.core import clock

    start = clock.at_ist(DAY, dt.time(10, 0)).timestamp()
    monkeypatch.setattr(clock, "_offset", start - time.time())
    running = SimulatorThread()
    settings.QUANTLEAP_BROKERS = broker_settings(running.ports)
    settings.QUANTLEAP_ARM_LEAD = 6.0
    settings.QUANTLEAP_CONNECT_LEAD = 4.0
    # Proving an order absent takes 5 s at least, and it is sent again after that.
    settings.QUANTLEAP_ENTRY_GRACE = 12.0
    settings.QUANTLEAP_VISIBILITY_DELAY = 2.0
    yield running
    running.stop()


@pytest.fixture
def installation(simulator: SimulatorThread, transactional_db: None) -> Iterator[Installation]:
    """Contracts, a feed, and customers on request."""
    from execution.tests.installation import Installation

    built = Installation(simulator)
    yield built
    built.control.close()


@pytest.fixture
def executor() -> Iterator[Callable[[], Any]]:
    """Starts an executor in this process, as often as it is called."""
    from execution.tests.installation import start_executor

    hosts: list[Any] = []

    def start() -> Any:
        hosts.append(start_executor(f"test-{len(hosts)}"))
        return hosts[-1]

    yield start
    for host in hosts:
        host.stop()


@pytest.fixture
def day(db: None) -> Day:
    """A run of today, for the console's pages."""
    from execution.tests.consoleday import Day

    return Day()


@pytest.fixture
def staff(db: None) -> Client:
    """Somebody who may do everything in the console."""
    from execution.tests.consoleday import login

    return login(superuser=True)


@pytest.fixture
def subscription() -> Subscription:
    """One active subscriber of an iron condor entering at 09:20."""
    from execution.tests.armedruns import make_subscriber

    return make_subscriber()


@pytest.fixture
def run(subscription: Subscription) -> Run:
    """Its run, with nobody in it yet."""
    from execution.tests.armedruns import NOW, make_run

    return make_run(subscription.template, hours=6, armed_at=NOW)


@pytest.fixture
def tokens(run: Run) -> dict[int, int]:
    """Every shard, leased to one writer."""
    from execution.tests.armedruns import lease_all
    from execution.tests.writtenrows import OWNER

    return lease_all(OWNER)


@pytest.fixture
def executions(db: None) -> list[LiveExecution]:
    """Fifty armed subscribers of one run."""
    from execution.tests.armedruns import many_armed

    return many_armed()


@pytest.fixture
def many_tokens(executions: list[LiveExecution]) -> dict[int, int]:
    """Every shard of theirs, leased to one writer."""
    from execution.tests.armedruns import lease_all
    from execution.tests.writtenrows import OWNER

    return lease_all(OWNER)
