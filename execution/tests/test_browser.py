"""The run page in a real browser: charts, freshness, and no word on the console."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from execution.models import (
    Alarm,
    Execution,
    ExecutorNode,
    KillSwitch,
    OrderIntent,
    Run,
    ShardLease,
)
from execution.tests.consoleday import Day, list_of, missed_by_all
from execution.tests.rows import make_alarm
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.tests.browser import fits, logged_in, shoot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A logged-in operator; any message on the console fails the test."""
    with logged_in(
        "operator", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


@pytest.fixture
def day() -> Day:
    trading_day = Day()
    trading_day.fill(12)
    return trading_day


def test_the_run_page_draws_and_stays_fresh(page: Page, day: Day) -> None:
    page.goto(page_of(day.run))
    drawn = "document.querySelectorAll('canvas.chart').length"
    assert page.evaluate(drawn) == 2
    assert page.evaluate("Boolean(Chart.getChart(document.querySelector('canvas.chart')))")
    shoot(page, "run-light")
    execution = Execution.objects.filter(status="OPEN", needs_attention=False)[0]
    execution.status, execution.realised_pnl = "CLOSED", 777
    execution.save()
    failed = page.locator("a.qd-tile", has_text="Failed").locator("b")
    expect(failed).to_have_text("12")
    Execution.objects.filter(status="COMMITTED").update(status="FAILED", cause="BROKER_DOWN")
    OrderIntent.objects.filter(state="UNKNOWN").update(state="MISSED", cause="BROKER_DOWN")
    expect(failed).to_have_text("24", timeout=15_000)
    expect(page.get_by_text("The broker could not be reached.").first).to_be_visible()
    assert page.evaluate("Boolean(Chart.getChart(document.querySelector('canvas.chart')))")


def test_choosing_a_status_shows_only_those(page: Page, day: Day) -> None:
    page.goto(page_of(day.run))
    page.select_option("select[name=status]", "FAILED")
    page.wait_for_url("**status=FAILED**")
    listed = page.locator("#executions-list .qd-label")
    expect(listed).to_have_count(12)
    assert set(listed.all_inner_texts()) == {"Failed"}


def test_the_kill_switch_is_two_clicks_and_a_reason(page: Page, day: Day) -> None:
    page.goto(page_of(day.run))
    page.get_by_role("link", name="Stop new entries of this template").click()
    expect(page.get_by_text("No new entry leaves from now on")).to_be_visible()
    shoot(page, "kill")
    page.fill("[name=reason]", "quotes look odd")
    page.get_by_role("button", name="Stop new entries").click()
    expect(page.get_by_text("new entries are blocked").first).to_be_visible()
    assert KillSwitch.objects.get().target_id == day.template.pk
    page.goto(page_of(day.run))
    banner = page.get_by_role("alert").filter(has_text="Kill switch")
    expect(banner).to_contain_text("Kill switch engaged")
    shoot(page, "run-killed")
    banner.get_by_role("link", name="Release").click()
    shoot(page, "killswitch")
    page.get_by_role("link", name="Release").click()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("new entries are allowed again").first).to_be_visible()


@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_a_run_that_everybody_missed_is_red_with_the_way_out(page: Page, look: str) -> None:
    if look == "narrow":
        page.set_viewport_size({"width": 390, "height": 844})
    if look == "dark":
        page.emulate_media(color_scheme="dark")
    day = Day()
    missed_by_all(day, clock.now())
    pages = {"today": "/admin/", "runs": list_of(Run), "run": page_of(day.run)}
    for name, url in pages.items():
        page.goto(url)
        shoot(page, f"{look}-missed-{name}")
        assert fits(page), name
        expect(page.get_by_text("3 of 3 subscribers did not enter.").first).to_be_visible()
    page.get_by_role("alert").get_by_role("link", name="Feed accounts").click()
    page.wait_for_url("**/feedaccount/")
    expect(page.get_by_text("Add feed account").first).to_be_visible()


def _alarms_of_every_state(execution: Execution, now: dt.datetime) -> Alarm:
    """One that is acknowledged, settled, over by itself; the open one is returned."""
    order = execution.intents.order_by("pk")[0]
    words = "RMS: Blocked for product MIS, remarks: the square-off session is running"
    make_alarm(execution, "PAST_EXIT", acknowledged_at=now, acknowledged_by="staff:asha")
    make_alarm(execution, "PRICE_BAND", settled_at=now, settled_by="staff:asha", note=words)
    make_alarm(execution, "EXIT_RESTING", cleared_at=now, cleared_by=f"order {order.tag} is FILLED")
    Alarm.objects.create(run=execution.run, cause="NO_PRICE", words="Sell call ATM")
    Alarm.objects.create(account=execution.account, cause="BOOK_UNREAD")
    leg, tag = order.leg_key, order.tag
    return make_alarm(execution, "DUPLICATE", leg_key=leg, order_tag=tag, words=words)


@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_every_page_fits(page: Page, day: Day, look: str) -> None:
    now = clock.now()
    ExecutorNode.objects.create(owner="host-1:4711", started_at=now, heartbeat_at=now)
    ShardLease.objects.bulk_create(ShardLease(shard=n) for n in range(8))
    if look == "narrow":
        page.set_viewport_size({"width": 390, "height": 844})
    if look == "dark":
        page.emulate_media(color_scheme="dark")
    attention = Execution.objects.filter(needs_attention=True)[0]
    alarm = _alarms_of_every_state(attention, now)
    pages = {
        "runs": list_of(Run),
        "run": page_of(day.run),
        "executions": list_of(Execution),
        "execution": page_of(Execution.objects.filter(status="CLOSED")[0]),
        "attention": reverse("admin:execution_execution_attention"),
        "settle": reverse("admin:execution_execution_settle", args=[attention.pk]),
        "alarmed": page_of(attention),
        "alarms": list_of(Alarm),
        "alarm": page_of(alarm),
        "acknowledge": reverse("admin:execution_alarm_acknowledge", args=[alarm.pk]),
        "settle-alarm": reverse("admin:execution_alarm_settle", args=[alarm.pk]),
        "orders": list_of(OrderIntent),
        "order": page_of(OrderIntent.objects.all()[0]),
        "executors": list_of(ExecutorNode),
        "killswitches": list_of(KillSwitch),
    }
    for name, url in pages.items():
        page.goto(url)
        shoot(page, f"{look}-{name}")
        assert fits(page), name
