"""The console's page: filters, read-only money, actions that ask first."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm
from subscriptions.models import Subscription
from subscriptions.periods import next_billing_date
from subscriptions.tests.factories import make_subscription, subscribe_many

LIST = "admin:subscriptions_subscription_changelist"


@pytest.fixture
def console(db: None) -> Client:
    load_reference_data()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff", "s@example.com", "pw"))
    return client


@pytest.fixture
def mine(console: Client) -> Subscription:
    return make_subscription(make_template(), make_partner("zebu"), email="asha@example.com")


def change_url(subscription: Subscription) -> str:
    return reverse("admin:subscriptions_subscription_change", args=[subscription.pk])


def act(console: Client, subscription: Subscription, action: str, **data: Any) -> Any:
    url = reverse(f"admin:subscriptions_subscription_{action}", args=[subscription.pk])
    return confirm(console, url, {"confirm": "yes", **data}, follow=True)


def test_the_list_filters_and_searches(console: Client, mine: Subscription) -> None:
    direct = make_subscription(mine.template)
    for query, expected in (
        ("", {mine, direct}),
        (f"partner={mine.partner_id}", {mine}),
        ("partner=none", {direct}),
        ("status__exact=PAUSED", set()),
        ("environment__exact=live", {mine, direct}),
        (f"template__id__exact={mine.template_id}", {mine, direct}),
        ("q=asha@example.com", {mine}),
        (f"q={direct.public_id}", {direct}),
    ):
        answer = console.get(f"{reverse(LIST)}?{query}")
        assert answer.status_code == 200, query
        assert set(answer.context["cl"].result_list) == expected, query


@pytest.mark.parametrize("count", [2, 40])
def test_the_list_takes_as_many_queries_for_many(
    console: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    subscribe_many(make_template(), count, make_partner())
    console.get(reverse(LIST))
    with django_assert_max_num_queries(12):
        assert console.get(reverse(LIST)).status_code == 200


def test_the_page_shows_money_and_lets_nobody_edit_it(console: Client, mine: Subscription) -> None:
    page = console.get(change_url(mine))
    assert page.status_code == 200
    assert "₹299.70 + ₹699.30 (30 %)" in page.content.decode()
    assert "₹999.00" in page.content.decode()
    assert b'name="monthly_fee"' not in page.content
    assert console.post(change_url(mine), {"monthly_fee": "1"}).status_code == 403
    mine.refresh_from_db()
    assert mine.monthly_fee == 999


def test_the_page_names_the_day_of_the_next_billing(console: Client, mine: Subscription) -> None:
    Subscription.objects.filter(pk=mine.pk).update(anchor=dt.date(2020, 1, 15))
    shown = console.get(change_url(mine)).content.decode()
    expected = next_billing_date(dt.date(2020, 1, 15), clock.ist_date(clock.now()))
    assert f"15 {expected:%b %Y}" in shown
    assert str(expected) not in shown


def test_actions_ask_first_and_call_the_services(console: Client, mine: Subscription) -> None:
    for action, status, words in (
        ("pause", "PAUSED", "is paused"),
        ("pause", "PAUSED", "was paused before"),
        ("resume", "ACTIVE", "is active again"),
        ("cancel", "CANCELLED", "is cancelled"),
    ):
        url = reverse(f"admin:subscriptions_subscription_{action}", args=[mine.pk])
        before = Subscription.objects.get().status
        assert console.get(url).status_code == 200
        assert Subscription.objects.get().status == before
        page = act(console, mine, action, note="because")
        assert words in page.content.decode()
        assert Subscription.objects.get().status == status
    entry = AuditEntry.objects.get(action="subscription.cancelled")
    assert (entry.actor_kind, entry.actor_id) == ("STAFF", "staff")
    assert entry.data["status_reason"] == "ADMIN"


def test_a_reason_must_be_given(console: Client, mine: Subscription) -> None:
    assert act(console, mine, "pause").status_code == 400
    assert Subscription.objects.get().status == "ACTIVE"


def test_a_refusal_is_shown_in_words(console: Client, mine: Subscription) -> None:
    Subscription.objects.update(status="PAUSED", status_reason="USER")
    page = act(console, mine, "resume", note="because")
    assert page.status_code == 409
    assert "It was paused by the customer" in page.content.decode()


def test_without_the_right_there_is_no_action(console: Client, mine: Subscription) -> None:
    console.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    url = reverse("admin:subscriptions_subscription_cancel", args=[mine.pk])
    assert confirm(console, url, {"confirm": "yes", "note": "x"}).status_code == 403
    assert Subscription.objects.get().status == "ACTIVE"
