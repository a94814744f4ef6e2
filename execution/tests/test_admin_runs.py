"""The console's runs: their list, and the page of one."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest
from django.test import Client

from execution import run_report
from execution.models import Execution, OrderIntent, Run, RunDecision
from execution.tests.consoleday import Day, get, list_of
from execution.tests.rows import make_execution, make_run
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.dates import day_text

pytestmark = pytest.mark.django_db


def test_the_list_of_runs_begins_with_today(day: Day, staff: Client) -> None:
    day.fill(1)
    yesterday = day.run.trade_date - dt.timedelta(days=1)
    make_run(day.template, yesterday, status="CLOSED")
    text = get(staff, list_of(Run))
    rows = text[text.index('id="result_list"') :]
    assert rows.index("Today") < rows.index(day_text(yesterday))
    assert "3 of 5" in rows
    assert "1 to look at" in text


def test_the_run_page_shows_decisions_causes_and_orders(day: Day, staff: Client) -> None:
    """The page also shows the scorecard, and the time of a send to the millisecond."""
    day.fill(2)
    text = get(staff, page_of(day.run))
    order = OrderIntent.objects.filter(state="FILLED").order_by("pk")[0]
    for expected in (
        "Short straddle",
        "NIFTY straddle",
        "SELL CE ATM WEEKLY",
        "The broker refused the order: not enough margin in the account.",
        "Nobody could say what became of the order; a person has to look.",
        order.tag,
        order.broker_order_id,
        "RMS: no margin",
        "+2,600.00",
        "125.00",
        "data-live-page",
    ):
        assert expected in text, expected
    sent = clock.to_ist(order.sent_at) if order.sent_at else None
    assert sent is not None
    assert f"{sent:%H:%M:%S}.{sent.microsecond // 1000:03}" in text


def test_a_closed_run_does_not_ask_again(day: Day, staff: Client) -> None:
    day.run.status = Run.Status.CLOSED
    day.run.save()
    assert "data-live-page" not in get(staff, page_of(day.run))


def test_filters_of_the_run_page(day: Day, staff: Client) -> None:
    day.fill(1)
    text = get(staff, page_of(day.run), cause="MARGIN")
    failed = Execution.objects.get(status="FAILED")
    other = Execution.objects.get(status="CLOSED")
    listed = text[text.index('id="executions-list"') : text.index('id="orders"')]
    assert failed.public_id in listed
    assert other.public_id not in listed
    text = get(staff, page_of(day.run), state="REJECTED", status="<b>", purpose="NONSENSE")
    orders = text[text.index('id="orders-list"') :]
    assert "RMS: no margin" in orders
    assert OrderIntent.objects.filter(state="FILLED")[0].tag not in orders


def test_pages_of_a_long_list(day: Day, staff: Client) -> None:
    for subscription in day.subscribers(30):
        make_execution(day.run, subscription, "OPEN")
    first = get(staff, page_of(day.run))
    assert "executions_page=2" in first
    second = get(staff, page_of(day.run), executions_page="2", status="OPEN")
    assert "executions_page=1" in second
    assert "executions_page=3" not in second
    get(staff, page_of(day.run), executions_page="x")
    get(staff, page_of(day.run), executions_page="99999")


def test_the_charts_count_up_to_everything(day: Day) -> None:
    assert run_report.charts(day.run.pk) == run_report.Charts()
    day.fill(3)
    charts = run_report.charts(day.run.pk)
    progress, lateness = json.loads(charts.progress), json.loads(charts.lateness)
    sent, answered, filled = (d["data"] for d in progress["datasets"])
    orders = OrderIntent.objects.filter(purpose="ENTRY")
    assert sent[-1] == orders.filter(sent_at__isnull=False).count()
    assert answered[-1] == orders.filter(answered_at__isnull=False).count()
    assert filled[-1] == orders.filter(state="FILLED").count()
    assert sent == sorted(sent)
    assert sum(lateness["datasets"][0]["data"]) == sent[-1]
    assert len(lateness["labels"]) == len(lateness["datasets"][0]["data"])


def test_a_stop_is_told_with_its_level_and_what_it_moved(day: Day, staff: Client) -> None:
    watch, other = day.run.watches.order_by("pk")
    now = clock.now()
    RunDecision.objects.create(
        run=day.run,
        kind=f"LEG_EXIT:{watch.leg_key}",
        payload={
            "reason": "STOP",
            "leg": watch.leg_key,
            "price": "126.10",
            "level": "125.00",
            "source": "feed",
        },
        decided_at=now,
        decided_by="executor-1",
    )
    watch.triggered_at, watch.trigger, watch.trigger_price = now, "STOP", Decimal("126.10")
    watch.save()
    other.moved_to_cost_at, other.stop_price = now, Decimal(100)
    other.save()
    text = get(staff, page_of(day.run))
    assert "The leg&#x27;s stop-loss was hit." in text
    assert "126.10 (level 125.00)" in text
    assert "at cost" in text


def test_a_run_without_decisions_or_executions(staff: Client, day: Day) -> None:
    RunDecision.objects.all().delete()
    text = get(staff, page_of(day.run))
    assert "decided two seconds before the entry" in text
    assert "Nothing went wrong." in text
