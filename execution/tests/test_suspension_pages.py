"""Suspending and reinstating in the console: shown in numbers, decided, and asked twice."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from execution.tests.rows import make_execution, make_run
from marketplace.tests.factories import load_reference_data, make_template
from partners.admin.partners import PartnerAdmin
from partners.models import Partner
from partners.suspensions import suspend_partner
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.console import page_of
from quantleap.core.dates import day_text
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm, seal_of
from subscriptions import services
from subscriptions.billing.tests.factories import HOME, bill, load_billing
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
Plan = Partner.Plan


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    return client


@pytest.fixture
def partner() -> Partner:
    load_reference_data()
    return make_partner("zebu", name="Zebu")


def follow(partner: Partner, count: int = 1, **more: Any) -> list[Subscription]:
    template = make_template(environment=more.pop("environment", "live"))
    return [make_subscription(template, partner, **more) for _ in range(count)]


def address(partner: Partner, what: str) -> str:
    return reverse(f"admin:partners_partner_{what}", args=[partner.pk])


def words(page: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode())))


def suspend(partner: Partner, plan: str = Plan.PAUSE_ALL, **more: Any) -> None:
    suspend_partner(
        partner_id=partner.pk,
        plan=plan,
        reason="complaints",
        actor=SYSTEM,
        now=clock.now(),
        **more,
    )


def test_it_is_decided_and_shown_in_numbers(console: Client, partner: Partner) -> None:
    """Seen: a page that said nothing of the subscriptions, and let them all trade on."""
    load_billing()
    live = follow(partner, 3, user_state=HOME, lot_multiplier=2)
    follow(partner, environment="test")
    services.pause(subscription_id=live[0].pk, actor=SYSTEM, reason="USER", now=clock.now())
    bill(clock.ist_date(clock.now()))
    make_execution(make_run(live[1].template), live[1])
    shown = words(console.get(address(partner, "suspend")))
    for line in (
        "Active subscriptions 2 1",
        "Paused 1 0",
        "Customers 3 1",
        "Multipliers, in all 4 1",
        "Monthly fees ₹1,998.00",
        "Unpaid invoices 3: ₹3,536.46",
        "Running periods 3: ₹2,997.00",
        "Open executions 1 0",
    ):
        assert line in shown, line
    assert "Next billing" in shown
    assert "3 active subscriptions: choose what happens to them." in shown
    answer = console.post(
        address(partner, "suspend"),
        {"confirm": "yes", "plan": "PAUSE_ALL", "reason": "fraud"},
    )
    asked = words(answer)
    assert "3 active subscriptions: this is what happens to them. Suspend the partner?" in asked
    assert "Pause all now" in asked
    partner.refresh_from_db()
    assert partner.status == "ACTIVE", "nothing yet"
    data = {"plan": "PAUSE_ALL", "reason": "fraud", "again": "yes"}
    done = confirm(console, address(partner, "suspend"), data, follow=True)
    assert "Zebu is suspended: 3 subscriptions paused." in words(done)
    assert not Subscription.objects.filter(status="ACTIVE").exists()


def test_who_subscribed_since_the_page_was_read_is_counted_anew(
    console: Client, partner: Partner
) -> None:
    follow(partner)
    url = address(partner, "suspend")
    body = {"confirm": "yes", "plan": "PAUSE_ALL", "reason": "fraud"}
    body["seal"] = seal_of(console.get(url))
    asked = console.post(url, body)
    follow(partner)
    answer = console.post(url, {**body, "again": "yes", "seal": seal_of(asked)})
    assert answer.status_code == 409
    assert "2 active subscriptions" in words(answer)
    partner.refresh_from_db()
    assert partner.status == "ACTIVE"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"plan": "", "reason": "x"}, "This field is required."),
        ({"plan": "PAUSE_ALL", "reason": ""}, "This field is required."),
        ({"plan": "RUN_UNTIL", "reason": "x"}, "Give the last day on which they trade."),
        (
            {"plan": "RUN_UNTIL", "reason": "x", "run_until": "2020-01-01"},
            "This day is over: pause them now.",
        ),
        (
            {"plan": "PAUSE_ALL", "reason": "x", "run_until": "2099-01-01"},
            "Only if they run until a day.",
        ),
    ],
    ids=["no plan", "no reason", "no day", "a day that is over", "a day of nothing"],
)
def test_what_cannot_be_is_said_beside_its_field(
    console: Client, partner: Partner, data: dict[str, str], said: str
) -> None:
    answer = confirm(console, address(partner, "suspend"), data)
    assert answer.status_code == 400
    assert said in words(answer)


def test_the_partners_page_says_since_when_by_whom_why_and_what(
    console: Client, partner: Partner
) -> None:
    until = clock.ist_date(clock.now()) + dt.timedelta(days=3)
    data = {"plan": "RUN_UNTIL", "run_until": str(until), "reason": "unpaid", "again": "yes"}
    assert confirm(console, address(partner, "suspend"), data).status_code == 302
    page = words(console.get(page_of(partner)))
    assert f"Run until {day_text(until)}, then paused" in page
    assert "unpaid" in page
    assert "STAFF asha" in page
    today = words(console.get("/admin/"))
    assert "Suspended partners" in today
    assert f"Run until {day_text(until)}" in today
    # another plan takes its place, and the page says which was in force
    again = words(console.get(address(partner, "suspend")))
    assert "Zebu is already suspended. Now: Run until" in again
    data = {"plan": "PAUSE_ALL", "reason": "it got worse", "again": "yes"}
    assert confirm(console, address(partner, "suspend"), data).status_code == 302
    shut = words(console.get(address(partner, "suspend")))
    assert "has been carried out" in shut
    actions = AuditEntry.objects.filter(target_type="partner").values_list("action", flat=True)
    assert set(actions) == {"partner.suspended", "partner.plan_changed"}


def test_reinstating_says_what_it_lifts(console: Client, partner: Partner) -> None:
    follow(partner, 2)
    suspend(partner)
    shown = words(console.get(address(partner, "reinstate")))
    assert "2 subscriptions held by the suspension. Each trades" in shown
    assert "complaints. All paused; done" in shown
    done = confirm(console, address(partner, "reinstate"), {"reason": "settled"}, follow=True)
    assert "Zebu may call again. Subscriptions that trade again: 2; renewed again: 0." in words(
        done
    )
    assert Subscription.objects.filter(status="ACTIVE").count() == 2
    assert "Zebu is not suspended." in words(console.get(address(partner, "reinstate")))


def test_the_first_page_is_red_without_a_plan(console: Client, partner: Partner) -> None:
    """The partner was suspended without a plan."""
    Partner.objects.filter(pk=partner.pk).update(status="SUSPENDED")
    assert "Zebu is suspended without a plan" in words(console.get("/admin/"))
    data = {"plan": "CANCEL_AT_PERIOD_END", "reason": "it is decided", "again": "yes"}
    assert confirm(console, address(partner, "suspend"), data).status_code == 302
    assert "without a plan" not in words(console.get("/admin/"))


def test_only_who_may_change_partners_suspends_and_reinstates(partner: Partner) -> None:
    staff = StaffUser.objects.create_user("viewer", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_partner"))
    client = Client()
    client.force_login(staff)
    for what in ("suspend", "reinstate"):
        assert client.get(address(partner, what)).status_code == 403
        assert client.post(address(partner, what), {"confirm": "yes"}).status_code == 403
    staff.user_permissions.add(Permission.objects.get(codename="change_partner"))
    assert client.get(address(partner, "suspend")).status_code == 200


def test_saving_a_partners_page_undoes_no_suspension(partner: Partner) -> None:
    """The form was opened before the suspension, and saves only what was typed into it."""
    read_before = Partner.objects.get(pk=partner.pk)
    suspend(partner)
    read_before.name = "Zebu Securities"

    class Typed:
        changed_data = ("name",)

    request: Any = type("Request", (), {"user": StaffUser.objects.create_superuser("boss")})
    page = PartnerAdmin(Partner, admin.site)
    page.save_model(request, read_before, Typed, change=True)
    partner.refresh_from_db()
    assert (partner.name, partner.status) == ("Zebu Securities", "SUSPENDED")
