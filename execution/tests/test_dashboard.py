"""The trading day on the console's first page, and who lives to trade it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from execution import timing
from execution.arming import never_armed
from execution.models import Execution, ExecutorNode, KillSwitch, Run, ShardLease
from execution.tests.consoleday import ATTENTION, Day, get, list_of, login, missed_by_all
from execution.tests.rows import enter, make_execution, make_run
from marketplace.calendar import Hours, TradingCalendar
from marketplace.models import Template, TemplateVersion
from quantleap.core import clock
from quantleap.core.console import page_of
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db


def test_the_day_stands_on_the_page_today(day: Day, staff: Client) -> None:
    index = reverse("admin:index")
    get(staff, index)
    with CaptureQueriesContext(connection) as before:
        assert "Runs of today" in get(staff, index)
    day.fill(3)
    KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="y")
    with CaptureQueriesContext(connection) as after:
        text = get(staff, index)
    assert len(after) == len(before)
    for expected in (page_of(day.run), "9 of 15", "Engaged", reverse(ATTENTION)):
        assert expected in text, expected
    assert "Runs of today" not in get(login("view_template"), index)


def test_a_run_that_everybody_missed_was_armed_and_green(day: Day, staff: Client) -> None:
    """The first page, the runs' list and the run's page say how many missed it, and why."""
    missed_by_all(day, clock.now())
    index = get(staff, reverse("admin:index"))
    for expected in (
        "3 of 3 subscribers did not enter.",
        "No fresh quote was available at the entry second.",
        reverse("admin:brokers_feedaccount_changelist"),
        'href="#attention"',
    ):
        assert expected in index, expected
    assert "nothing here needs a person" not in index
    for page in (get(staff, list_of(Run)), get(staff, page_of(day.run))):
        assert "Missed" in page
        assert "3 of 3 subscribers did not enter." in page
        assert "No fresh quote was available at the entry second." in page


def test_an_overnight_position_was_not_on_the_first_page(
    day: Day, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: a run with a position that was left open was missing from the next day's first page."""
    held, waiting, closed = day.subscribers(3)
    enter(make_execution(day.run, held, "OPEN"), day.contracts)
    make_execution(day.run, waiting, "ARMED")
    make_execution(day.run, closed, "CLOSED")
    tomorrow = clock.now() + dt.timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    index = reverse("admin:index")
    get(staff, index)
    with CaptureQueriesContext(connection) as first_queries:
        page = get(staff, index)
    assert "left open" in page
    assert "Executions that are not over: 2 of 3; with a position: 1." in page
    assert page_of(day.run) in page
    assert "nothing here needs a person" not in page
    earlier = make_run(day.template, day.run.trade_date - dt.timedelta(days=1))
    make_execution(earlier, held, "EXITING")
    with CaptureQueriesContext(connection) as second_queries:
        both = get(staff, index)
    assert page_of(day.run) in both
    assert page_of(earlier) in both
    assert len(first_queries) == len(second_queries)
    Execution.objects.update(status="CLOSED")
    assert "left open" not in get(staff, index)


def test_a_missed_run_is_red_only_where_somebody_follows(day: Day, staff: Client) -> None:
    """Seen: on a special session a strategy without subscribers stood there in red."""
    Run.objects.filter(pk=day.run.pk).update(status="MISSED", cause="OUTSIDE_SESSION")
    day.run.refresh_from_db()
    for page in (reverse("admin:index"), list_of(Run), page_of(day.run)):
        assert "Missed, no subscribers" in get(staff, page), page
        assert "The run could not be entered." not in get(staff, page), page
    day.subscribers(1)
    Subscription.objects.update(status_changed_at=day.run.entry_at - dt.timedelta(hours=1))
    assert "The run could not be entered." in get(staff, reverse("admin:index"))
    Subscription.objects.update(status_changed_at=day.run.entry_at + dt.timedelta(hours=1))
    assert "The run could not be entered." not in get(staff, reverse("admin:index"))


def publish_again(first: TemplateVersion, definition: Any, at: dt.datetime) -> None:
    """Another version of the same strategies, in force from ``at`` on."""
    again = TemplateVersion.objects.create(
        template=first.template,
        number=TemplateVersion.objects.filter(template=first.template).count() + 1,
        definition=definition,
        published_by="staff",
        published_at=at,
    )
    Template.objects.filter(pk=first.template_id).update(current_version=again)


def test_a_strategy_that_nobody_armed_is_on_the_first_page(
    day: Day, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = clock.ist_date(clock.now())
    calendar = TradingCalendar(
        years=frozenset({today.year, today.year + 1}),
        hours=((today, Hours(dt.time(9, 15), dt.time(15, 30))),),
    )
    monkeypatch.setattr("marketplace.selectors.load_calendar", lambda: calendar)
    day.subscribers(1)
    Run.objects.all().delete()
    coming = calendar.on_or_after(today + dt.timedelta(days=1))  # nothing is published before it
    entry = clock.at_ist(coming, dt.time(9, 20))
    soon, late = (entry + dt.timedelta(seconds=s) for s in (29, 31))
    assert never_armed(now=soon, timing=timing.from_settings()) == []
    (due,) = never_armed(now=late, timing=timing.from_settings())
    assert due.template_id == day.template.pk
    monkeypatch.setattr(clock, "now", lambda: late)
    page = get(staff, reverse("admin:index"))
    assert "never armed" in page
    assert "Nobody armed it before the entry. No executor that is known now was" in page
    with CaptureQueriesContext(connection) as before:
        never_armed(now=late, timing=timing.from_settings())
    ExecutorNode.objects.create(owner="one", started_at=soon, heartbeat_at=late)
    assert "was running by then" in get(staff, reverse("admin:index"))
    ExecutorNode.objects.update(started_at=entry - dt.timedelta(hours=1))
    alive = get(staff, reverse("admin:index"))
    assert "Nobody armed it before the entry." in alive
    assert "was running by then" not in alive, "executors lived; the calendar came late, perhaps"
    published = day.template.current_version
    assert published is not None
    publish_again(published, published.definition, late - dt.timedelta(seconds=1))
    with CaptureQueriesContext(connection) as after:
        assert never_armed(now=late, timing=timing.from_settings()), "hidden by publishing again"
    assert len(after) == len(before)
    earlier = json.loads(json.dumps(published.definition).replace("09:20:00", "09:19:00"))
    publish_again(published, earlier, late)
    assert never_armed(now=late, timing=timing.from_settings()) == [], "no such entry by then"
    publish_again(published, published.definition, late)
    assert never_armed(now=late, timing=timing.from_settings())
    Subscription.objects.update(status_changed_at=entry)  # who came after the entry missed nothing
    assert never_armed(now=late, timing=timing.from_settings()) == []


def test_the_health_page_says_what_nobody_owns(staff: Client) -> None:
    url = list_of(ExecutorNode)
    assert "No executor lives" in get(staff, url)
    now = clock.now()
    ExecutorNode.objects.create(owner="one", started_at=now, heartbeat_at=now)
    late = now - dt.timedelta(minutes=5)
    ExecutorNode.objects.create(owner="two", started_at=late, heartbeat_at=late)
    soon = now + dt.timedelta(seconds=60)
    ShardLease.objects.create(shard=0, owner="one", token=4, heartbeat_at=now, expires_at=soon)
    ShardLease.objects.create(shard=1, owner="two", token=2, heartbeat_at=late, expires_at=late)
    text = get(staff, url)
    assert "Shards without an owner:</strong> 1" in text
    assert "Alive" in text
    assert "Silent" in text
