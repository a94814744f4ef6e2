"""A clock that is off is named where staff look: on the first page and on the executors' page."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.urls import reverse

from execution.models import ExecutorNode
from execution.selectors import database_now
from quantleap.core import clock
from quantleap.core.models import StaffUser


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    """A logged-in superuser."""
    client.force_login(StaffUser.objects.create_superuser("root", password="x"))
    return client


def page(staff: Client, name: str) -> str:
    """A page's text."""
    answer = staff.get(reverse(name))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("offset", "first", "health"),
    [
        (3000, "1 of 1: clock off", "Clock off"),
        (-3000, "3.0 s behind the database", "Clock off"),
        (40, "alive", "+40 ± 2 ms"),
    ],
    ids=["ahead", "behind", "right"],
)
def test_a_clock_that_was_seconds_off_was_named_nowhere(
    staff: Client, offset: int, first: str, health: str
) -> None:
    ExecutorNode.objects.create(
        owner="host:1:a",
        started_at=clock.now(),
        heartbeat_at=database_now(),
        clock_offset_ms=offset,
        clock_error_ms=2,
    )
    assert first in page(staff, "admin:index")
    text = page(staff, "admin:execution_executornode_changelist")
    assert health in text
    assert ("is off</strong>" in text) == (offset != 40)


def test_an_age_on_the_executors_page_is_the_databases(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web server's own clock has no say, and neither has a day that was moved."""
    monkeypatch.setattr(clock, "_offset", -dt.timedelta(days=80).total_seconds())
    now = database_now()
    ExecutorNode.objects.create(owner="host:1:a", started_at=clock.now(), heartbeat_at=now)
    assert "Alive" in page(staff, "admin:execution_executornode_changelist")
