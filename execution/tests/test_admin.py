"""The console's pages of the trading day: who may, what they show, how many queries."""

from __future__ import annotations

import datetime as dt
import functools
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from brokers.tests.factories import make_contract
from execution import runpage
from execution.arming import never_armed
from execution.engine import timing
from execution.models import (
    Alarm,
    Execution,
    ExecutorNode,
    KillSwitch,
    OrderIntent,
    Run,
    RunDecision,
    ShardLease,
)
from execution.tests.factories import make_accounts, subscribe_accounts
from execution.tests.rows import decide, enter, leave, make_alarm, make_execution, make_run
from marketplace.calendar import Hours, TradingCalendar
from marketplace.models import Contract, Template, TemplateVersion
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm, seal_of
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db


class Day:
    """One run of a straddle with as many subscribers as asked for."""

    def __init__(self) -> None:
        self.template: Template = make_short_straddle(name="NIFTY straddle")
        self.contracts: list[Contract] = [
            make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")
        ]
        self.run: Run = make_run(self.template, clock.ist_date(clock.now()))
        decide(self.run, self.contracts)
        self.count = 0

    def subscribers(self, count: int) -> list[Subscription]:
        self.count += count
        return subscribe_accounts(self.template, make_accounts(count, prefix=f"D{self.count}"))

    def fill(self, count: int) -> None:
        """``count`` executions of every kind, with orders."""
        for number, subscription in enumerate(self.subscribers(count * 5)):
            self._one(number % 5, subscription)

    def _one(self, kind: int, subscription: Subscription) -> None:
        if kind == 0:
            execution = make_execution(self.run, subscription, "OPEN")
            enter(execution, self.contracts, late_ms=4)
        elif kind == 1:
            execution = make_execution(
                self.run, subscription, "CLOSED", realised_pnl=Decimal("1300.00")
            )
            for entry in enter(execution, self.contracts, late_ms=16):
                leave(execution, entry)
        elif kind == 2:
            execution = make_execution(self.run, subscription, "FAILED", cause="MARGIN")
            enter(execution, self.contracts, "REJECTED", cause="MARGIN", message="RMS: no margin")
        elif kind == 3:
            execution = make_execution(self.run, subscription, "OPEN")
            make_alarm(execution)
            enter(execution, self.contracts, "ESCALATED", cause="UNRESOLVED")
        else:
            execution = make_execution(self.run, subscription, "COMMITTED")
            enter(execution, self.contracts, "UNKNOWN")


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def staff() -> Client:
    return login(superuser=True)


def login(*permissions: str, superuser: bool = False) -> Client:
    """A client of a staff user with just these permissions."""
    number = StaffUser.objects.count()
    user = StaffUser.objects.create_user(
        f"staff{number}", password="secret-pass", is_staff=True, is_superuser=superuser
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def list_of(model: Any) -> str:
    return reverse(f"admin:execution_{model._meta.model_name}_changelist")


def list_at(model: Any, day: Day) -> str:
    return list_of(model)


LISTS = (Run, Execution, Alarm, OrderIntent, KillSwitch, ExecutorNode)
ATTENTION = "admin:execution_execution_attention"
Address = Callable[[Day], str]
PAGES: dict[str, Address] = {
    **{f"list of {m._meta.model_name}": functools.partial(list_at, m) for m in LISTS},
    "attention": lambda day: reverse(ATTENTION),
    "run": lambda day: page_of(day.run),
    "execution": lambda day: page_of(Execution.objects.order_by("pk")[1]),
    "order": lambda day: page_of(OrderIntent.objects.order_by("pk")[0]),
    "engage": lambda day: reverse("admin:execution_killswitch_add"),
}


def get(client: Client, url: str, **query: str) -> str:
    answer = client.get(url, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


# -- every page ---------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAGES)
def test_every_page_answers_with_a_constant_number_of_queries(
    day: Day, staff: Client, name: str
) -> None:
    day.fill(1)
    url = PAGES[name](day)
    get(staff, url)
    with CaptureQueriesContext(connection) as before:
        get(staff, url)
    day.fill(5)
    ShardLease.objects.bulk_create(ShardLease(shard=n) for n in range(8))
    with CaptureQueriesContext(connection) as after:
        get(staff, url)
    assert len(after) == len(before), [q["sql"][:120] for q in after.captured_queries]
    assert len(after) <= 30


@pytest.mark.parametrize("name", PAGES)
def test_no_page_without_its_permission(day: Day, name: str) -> None:
    day.fill(1)
    url = PAGES[name](day)
    assert Client().get(url).status_code == 302
    assert login().get(url).status_code == 403


@pytest.mark.parametrize("name", [n for n in PAGES if n not in ("engage", "list of killswitch")])
def test_who_may_view_may_look_and_nothing_else(day: Day, name: str) -> None:
    day.fill(1)
    models = ("run", "execution", "alarm", "orderintent", "executornode")
    viewer = login(*(f"view_{model}" for model in models))
    url = PAGES[name](day)
    get(viewer, url)
    if name in ("run", "execution"):
        assert viewer.post(url, {"status": "CLOSED"}).status_code == 403
    assert viewer.get(reverse("admin:execution_killswitch_add")).status_code == 403


def test_unknown_pages_are_404_or_lead_back(staff: Client) -> None:
    for model in ("run", "execution"):
        for key in ("999999", "abc"):
            url = reverse(f"admin:execution_{model}_change", args=[key])
            assert staff.get(url).status_code == 404
    assert staff.get(reverse("admin:execution_executornode_change", args=["x"])).status_code == 404


@pytest.mark.parametrize("name", [n for n in PAGES if n != "engage"])
def test_the_kill_switch_is_one_click_away(day: Day, staff: Client, name: str) -> None:
    day.fill(1)
    text = get(staff, PAGES[name](day))
    add = reverse("admin:execution_killswitch_add")
    assert add in text or "stop-entries" in text
    if name == "run":
        assert f"{add}?template={day.template.pk}" in text


def test_the_first_page_leads_to_the_kill_switch(day: Day, staff: Client) -> None:
    assert f'href="{list_of(KillSwitch)}"' in get(staff, "/admin/")


def test_the_button_of_the_lists_leads_to_the_question(staff: Client) -> None:
    for model in (Run, Execution, OrderIntent):
        url = reverse(f"admin:execution_{model._meta.model_name}_stop_entries")
        assert staff.get(url)["Location"] == reverse("admin:execution_killswitch_add")


# -- runs ---------------------------------------------------------------------------------------
def test_the_list_of_runs_begins_with_today(day: Day, staff: Client) -> None:
    day.fill(1)
    yesterday = day.run.trade_date - dt.timedelta(days=1)
    make_run(day.template, yesterday, status="CLOSED")
    text = get(staff, list_of(Run))
    rows = text[text.index('id="result_list"') :]
    assert rows.index("Today") < rows.index(f"{yesterday:%d %b %Y}")
    assert "3 of 5" in rows
    assert "1 to look at" in text


def test_the_run_page_shows_scorecard_decisions_causes_and_orders(day: Day, staff: Client) -> None:
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
    assert runpage.charts(day.run.pk) == runpage.Charts()
    day.fill(3)
    found = runpage.charts(day.run.pk)
    progress, lateness = json.loads(found.progress), json.loads(found.lateness)
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


# -- executions and orders ----------------------------------------------------------------------
def test_an_execution_shows_its_orders_and_what_was_closed_outside(day: Day, staff: Client) -> None:
    day.fill(1)
    execution = Execution.objects.get(status="CLOSED")
    entry = execution.intents.order_by("pk")[0]
    execution.closed_outside = {entry.leg_key: -65}
    execution.save()
    text = get(staff, page_of(execution))
    for intent in execution.intents.all():
        assert intent.tag in text
    assert f"65 units of {entry.symbol} were closed outside" in text
    assert execution.subscription.customer.email in text


def test_a_tag_finds_its_order_whichever_send_it_names(day: Day, staff: Client) -> None:
    day.fill(1)
    wanted, other = OrderIntent.objects.order_by("pk")[:2]
    text = get(staff, list_of(OrderIntent), q=f"Q{wanted.code.lower()}3")
    assert wanted.tag in text
    assert other.tag not in text
    assert wanted.tag in get(staff, list_of(OrderIntent), q=wanted.broker_order_id)


# -- attention ----------------------------------------------------------------------------------
def test_attention_is_settled_with_a_note(day: Day, staff: Client) -> None:
    day.fill(1)
    execution = Execution.objects.get(needs_attention=True)
    text = get(staff, reverse(ATTENTION))
    assert execution.public_id in text
    assert "Escalated" in text
    assert "Unknown" in text
    assert reverse("admin:execution_alarm_settle", args=[execution.alarms.get().pk]) in text
    settle = reverse("admin:execution_execution_settle", args=[execution.pk])
    assert settle in get(staff, page_of(execution))
    assert "Look at the account" in get(staff, settle)
    assert confirm(staff, settle, {"confirm": "yes", "note": ""}).status_code == 400
    answer = confirm(staff, settle, {"confirm": "yes", "note": "cancelled at the broker"})
    assert answer.status_code == 302
    assert not execution.needs_attention
    entry = AuditEntry.objects.get(action="alarm.settled")
    assert entry.data["note"] == "cancelled at the broker"
    assert settle not in get(staff, page_of(execution))
    assert page_of(execution) not in get(staff, reverse(ATTENTION))
    again = confirm(staff, settle, {"confirm": "yes", "note": "again"})
    assert again.status_code == 409


def test_an_alarm_is_acknowledged_by_name_and_then_settled(day: Day, staff: Client) -> None:
    (subscription,) = day.subscribers(1)
    execution = make_execution(day.run, subscription, "OPEN")
    alarm = make_alarm(execution, "DUPLICATE", words="orders 2608 and 2609")
    for page in (reverse(ATTENTION), page_of(day.run), page_of(execution), page_of(alarm)):
        text = get(staff, page)
        assert "orders 2608 and 2609" in text
        assert "15 min" in text
    acknowledge = reverse("admin:execution_alarm_acknowledge", args=[alarm.pk])
    settle = reverse("admin:execution_alarm_settle", args=[alarm.pk])
    assert confirm(staff, acknowledge, {"confirm": "yes"}).status_code == 302
    assert "is at it since" in get(staff, reverse(ATTENTION))
    assert "is at it since" in get(staff, page_of(execution))
    assert confirm(staff, acknowledge, {"confirm": "yes"}).status_code == 409
    answer = confirm(staff, settle, {"confirm": "yes", "note": "2609 is cancelled"})
    assert answer.status_code == 302
    assert not execution.needs_attention
    history = get(staff, page_of(execution))
    assert "2609 is cancelled" in history
    assert settle not in history
    assert settle not in get(staff, reverse(ATTENTION))


def test_alarms_are_narrowed_by_state_and_cause_and_an_empty_list_says_so(
    day: Day, staff: Client
) -> None:
    assert "Nothing needs a person." in get(staff, reverse(ATTENTION))
    one, two, three = (make_execution(day.run, s, "OPEN") for s in day.subscribers(3))
    make_alarm(one, "DUPLICATE")
    make_alarm(two, "PAST_EXIT", acknowledged_at=clock.now(), acknowledged_by="asha")
    make_alarm(three, "PAST_EXIT", cleared_at=clock.now(), cleared_by="the order is filled")

    def shown(url: str, **query: str) -> list[bool]:
        text = get(staff, url, **query)
        return [execution.public_id in text for execution in (one, two, three)]

    assert shown(reverse(ATTENTION)) == [True, True, False]
    assert shown(reverse(ATTENTION), state="new") == [True, False, False]
    assert shown(reverse(ATTENTION), state="acknowledged") == [False, True, False]
    assert shown(reverse(ATTENTION), cause="PAST_EXIT") == [False, True, False]
    assert shown(reverse(ATTENTION), cause="nonsense", state="'") == [True, True, False]
    assert shown(list_of(Alarm)) == [True, True, True]
    assert shown(list_of(Alarm), state="cleared") == [False, False, True]
    assert shown(list_of(Alarm), state="new", cause="DUPLICATE") == [True, False, False]
    assert shown(list_of(Execution), needs_attention="1") == [True, True, False]
    assert shown(list_of(Execution), needs_attention="0") == [False, False, True]
    empty = get(staff, reverse(ATTENTION), state="acknowledged", cause="DUPLICATE")
    assert "No open alarm is like that." in empty


def test_the_first_page_counts_alarms_and_names_the_most_frequent_cause(
    day: Day, staff: Client
) -> None:
    for subscription in day.subscribers(2):
        make_alarm(make_execution(day.run, subscription, "OPEN"), "PAST_EXIT")
    make_alarm(Execution.objects.all()[0], "DUPLICATE")
    Alarm.objects.create(run=day.run, cause="NO_PRICE", words="short straddle, call")
    text = get(staff, "/admin/")
    assert "4 alarms are open" in text
    assert "2 × A position is open past its exit time." in text
    assert "short straddle, call" in get(staff, page_of(day.run))


def test_who_may_only_look_is_offered_no_way_to_settle_an_alarm(day: Day) -> None:
    day.fill(1)
    alarm = Alarm.objects.get()
    viewer = login("view_execution", "view_alarm", "view_run")
    for page in (reverse(ATTENTION), page_of(day.run), page_of(alarm)):
        assert f"/alarm/{alarm.pk}/settle" not in get(viewer, page)
    for name in ("settle", "acknowledge"):
        url = reverse(f"admin:execution_alarm_{name}", args=[alarm.pk])
        assert confirm(viewer, url, {"confirm": "yes", "note": "x"}).status_code == 403
    allowed = login("view_execution", "view_alarm", "change_alarm")
    assert f"/alarm/{alarm.pk}/settle" in get(allowed, reverse(ATTENTION))


def test_settling_needs_the_change_permission(day: Day) -> None:
    day.fill(1)
    execution = Execution.objects.get(needs_attention=True)
    viewer = login("view_execution")
    settle = reverse("admin:execution_execution_settle", args=[execution.pk])
    assert confirm(viewer, settle, {"confirm": "yes", "note": "x"}).status_code == 403
    assert settle not in get(viewer, page_of(execution))
    allowed = login("view_execution", "change_execution")
    assert settle in get(allowed, page_of(execution))


# -- kill switch --------------------------------------------------------------------------------
def test_engaging_asks_withdraws_and_shows_on_every_page(day: Day, staff: Client) -> None:
    (subscription,) = day.subscribers(1)
    armed = make_execution(day.run, subscription, "ARMED")
    add = reverse("admin:execution_killswitch_add")
    text = get(staff, add, template=str(day.template.pk))
    assert "1 armed executions are withdrawn" in text
    assert not KillSwitch.objects.exists()
    posted = {"confirm": "yes", "template": str(day.template.pk), "reason": "odd quotes"}
    assert confirm(staff, add, posted | {"reason": ""}).status_code == 400
    assert confirm(staff, f"{add}?template={day.template.pk}", posted).status_code == 302
    armed.refresh_from_db()
    assert (armed.status, armed.cause) == ("WITHDRAWN", "KILL_SWITCH")
    switch = KillSwitch.objects.get()
    assert (switch.target_id, switch.reason) == (day.template.pk, "odd quotes")
    assert confirm(staff, f"{add}?template={day.template.pk}", posted).status_code == 409
    run_page = get(staff, page_of(day.run))
    assert "Kill switch engaged: NIFTY straddle." in run_page
    assert page_of(switch) in run_page
    assert "NIFTY straddle" in get(staff, list_of(KillSwitch))


def test_a_switch_of_another_template_is_not_this_runs_business(day: Day, staff: Client) -> None:
    KillSwitch.objects.create(
        scope="TEMPLATE", target_id=day.template.pk + 1, reason="x", engaged_by="y"
    )
    assert "Kill switch engaged" not in get(staff, page_of(day.run))
    KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="y")
    assert "Kill switch engaged: Platform." in get(staff, page_of(day.run))


def test_releasing_asks_and_is_written_down(day: Day, staff: Client) -> None:
    add = reverse("admin:execution_killswitch_add")
    confirm(staff, add, {"confirm": "yes", "template": "", "reason": "test"})
    switch = KillSwitch.objects.get()
    assert switch.scope == "PLATFORM"
    release = reverse("admin:execution_killswitch_release", args=[switch.pk])
    assert release in get(staff, page_of(switch))
    assert "what was withdrawn stays so" in get(staff, release)
    assert confirm(staff, release, {"confirm": "yes"}).status_code == 302
    switch.refresh_from_db()
    assert switch.released_at is not None
    assert confirm(staff, release, {"confirm": "yes"}).status_code == 409
    assert AuditEntry.objects.filter(action="kill_switch.released").exists()


def test_who_may_look_may_not_engage_or_release(day: Day) -> None:
    switch = KillSwitch.objects.create(scope="PLATFORM", reason="x", engaged_by="y")
    viewer = login("view_killswitch")
    get(viewer, page_of(switch))
    posted = {"confirm": "yes", "template": "", "reason": "x"}
    add = reverse("admin:execution_killswitch_add")
    assert viewer.post(add, posted).status_code == 403
    release = reverse("admin:execution_killswitch_release", args=[switch.pk])
    assert confirm(viewer, release, {"confirm": "yes"}).status_code == 403
    assert login("add_killswitch").get(add).status_code == 200


# -- Today --------------------------------------------------------------------------------------
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


def missed_by_all(day: Day, now: dt.datetime) -> None:
    """As it was seen on a fresh installation: nobody entered, and the run is still "Armed"."""
    for subscription in day.subscribers(3):
        make_execution(day.run, subscription, "MISSED", cause="NO_QUOTE")
    entry_at = now - dt.timedelta(seconds=5)
    Run.objects.filter(pk=day.run.pk).update(
        status="ARMED",
        entry_at=entry_at,
        grace_until=entry_at + dt.timedelta(seconds=30),
        exit_at=now + dt.timedelta(hours=4),
    )


def test_a_run_that_everybody_missed_stood_there_as_armed_and_green(
    day: Day, staff: Client
) -> None:
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


def test_a_position_left_open_overnight_was_not_on_the_next_days_first_page(
    day: Day, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, waiting, closed = day.subscribers(3)
    enter(make_execution(day.run, held, "OPEN"), day.contracts)
    make_execution(day.run, waiting, "ARMED")
    make_execution(day.run, closed, "CLOSED")
    tomorrow = clock.now() + dt.timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    index = reverse("admin:index")
    get(staff, index)
    with CaptureQueriesContext(connection) as one:
        page = get(staff, index)
    assert "left open" in page
    assert "Executions that are not over: 2 of 3; with a position: 1." in page
    assert page_of(day.run) in page
    assert "nothing here needs a person" not in page
    earlier = make_run(day.template, day.run.trade_date - dt.timedelta(days=1))
    make_execution(earlier, held, "EXITING")
    with CaptureQueriesContext(connection) as two:
        both = get(staff, index)
    assert page_of(day.run) in both
    assert page_of(earlier) in both
    assert len(one) == len(two)
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


# -- executors ----------------------------------------------------------------------------------
def test_the_kill_page_said_nothing_here_yet_and_add_kill_switch(day: Day, staff: Client) -> None:
    text = get(staff, list_of(KillSwitch))
    assert "New entries are allowed" in text
    assert "open positions are managed to their exit as before" in text
    assert "Stop all new entries" in text
    assert "Nothing here yet" not in text
    assert "Add kill switch" not in text


def test_stop_everything_only_stopped_entries_and_says_so(day: Day, staff: Client) -> None:
    page = get(staff, page_of(day.run))
    assert "Stop all new entries" in page
    assert "Stop new entries of this template" in page
    assert "Stop everything" not in page
    assert "Nothing is closed." in get(staff, reverse("admin:execution_killswitch_add"))


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


def test_the_kill_switch_blocks_what_its_page_told_about(staff: Client, day: Day) -> None:
    """Seen: the page told of one template, the form blocked the whole platform."""
    add = reverse("admin:execution_killswitch_add")
    told = staff.get(f"{add}?template={day.template.pk}")
    assert f"{day.template.name}:" in told.content.decode()
    everything = {"confirm": "yes", "template": "", "reason": "odd quotes", "seal": seal_of(told)}
    asked = staff.post(add, everything)
    assert asked.status_code == 409
    assert "All templates, the whole platform:" in asked.content.decode()
    assert not KillSwitch.objects.exists()
    assert staff.post(add, {**everything, "seal": seal_of(asked)}).status_code == 302
    assert KillSwitch.objects.get().target_id is None


def test_a_kill_page_that_was_open_for_two_hours_was_refused(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an emergency nobody reads why a page asks again; what it told of is still the same."""
    add = reverse("admin:execution_killswitch_add")
    told = staff.get(add)
    opened = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: opened + 7200)
    body = {"confirm": "yes", "template": "", "reason": "odd quotes", "seal": seal_of(told)}
    assert staff.post(add, body).status_code == 302
    assert KillSwitch.objects.get().target_id is None


@pytest.mark.parametrize(
    ("cause", "message", "said"),
    [
        ("MARGIN", "RMS: no margin", "The broker&#x27;s own words: RMS: no margin"),
        ("NO_QUOTE", "no fresh level of NIFTY", "no fresh level of NIFTY"),
        ("CONTRACT_LIST", "one expiry has one lot", "one expiry has one lot"),
    ],
)
def test_our_own_sentence_was_shown_as_the_brokers_own_words(
    staff: Client, day: Day, cause: str, message: str, said: str
) -> None:
    (subscription,) = day.subscribers(1)
    execution = make_execution(day.run, subscription, "MISSED", cause=cause, message=message)
    page = get(staff, page_of(execution)).replace("'", "&#x27;")
    assert f'<p class="ql-muted">{said}</p>' in page
    assert ("own words" in page) == (cause == "MARGIN")
