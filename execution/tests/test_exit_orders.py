"""Exits after the close: the broker would refuse every one, so a person is asked instead."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import pytest

from execution.models import Execution, OrderIntent
from execution.tests.installation import Installation, start_executor, wait_until
from marketplace.models import SessionHours
from marketplace.tests.factories import make_iron_condor
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
HOLD = 8


def close_session_at(at: dt.datetime) -> None:
    """The exchange's session of today ends then (and began as ever)."""
    SessionHours.objects.create(
        effective_from=clock.ist_date(at),
        opens_at=dt.time(9, 15),
        closes_at=clock.to_ist(at).time(),
        source="test",
    )


def enter(installation: Installation) -> dt.datetime:
    """A condor of three customers whose exit comes a second before the close; the close."""
    times = installation.entry_in(9, HOLD)
    installation.subscribe(make_iron_condor(strategy=times), 3)
    closes = clock.at_ist(clock.ist_date(clock.now()), times["exit_time"])
    closes += dt.timedelta(seconds=1)
    close_session_at(closes)
    return closes


def test_an_exit_after_the_close_is_not_sent_but_named(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """The executor was away from before the exit until after the close."""
    closes = enter(installation)
    first = start_executor("test-first")
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 3, 40)
    first.stop()
    sent = len(installation.control.orders())
    while clock.now() <= closes:
        time.sleep(0.1)
    executor()
    wait_until(lambda: Execution.objects.filter(cause="SESSION_OVER").count() == 3, 40)
    assert all(e.needs_attention for e in Execution.objects.all())
    assert {e.status for e in Execution.objects.all()} <= {"OPEN", "EXITING"}
    assert not OrderIntent.objects.filter(purpose="EXIT").exists()
    assert len(installation.control.orders()) == sent


def test_an_exit_a_second_before_the_close_is_sent(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """The control."""
    enter(installation)
    executor()
    wait_until(lambda: OrderIntent.objects.filter(purpose="EXIT", sends__gt=0).exists(), 40)
