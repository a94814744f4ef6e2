"""From a customer to everything that is theirs, and back from each of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.ports import BELONGINGS
from partners.tests.factories import make_customer, make_partner
from quantleap.core.console import page_of
from quantleap.core.models import StaffUser
from subscriptions.billing.models import Invoice, Payment
from subscriptions.billing.tests.factories import START, bill, load_billing, pay
from subscriptions.models import Subscription
from subscriptions.tests.factories import Follower, subscribe_many


@pytest.fixture
def staff(db: None) -> Client:
    load_billing()
    load_reference_data()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff"))
    return client


@pytest.fixture
def follower(staff: Client) -> Follower:
    (subscriber,) = subscribe_many(make_template(), 1, make_partner())
    Subscription.objects.filter(pk=subscriber.subscription.pk).update(anchor=START)
    subscriber.subscription.segments.update(anchor=START, next_on=START, next_no=0)
    bill(START)
    pay(Invoice.objects.get(), Invoice.objects.get().total + 100)
    return subscriber


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return str(answer.content.decode())


def test_a_customers_page_leads_to_everything_that_is_theirs(
    staff: Client, follower: Follower
) -> None:
    page = text(staff.get(page_of(follower.customer)))
    for row in (
        follower.subscription,
        follower.account,
        Invoice.objects.get(),
        Payment.objects.get(),
    ):
        assert f'href="{page_of(row)}"' in page, row
    assert "₹100.00" in page, "the credit"
    for title in (
        "Subscriptions",
        "Broker accounts",
        "Invoices",
        "Payments",
        "Credit",
        "Executions",
    ):
        assert f">{title}</h2>" in page
    assert "In the audit log" in page


def test_each_list_behind_it_shows_only_theirs(staff: Client, follower: Follower) -> None:
    subscribe_many(make_template(), 2, make_partner())
    page = text(staff.get(page_of(follower.customer)))
    lists = re.findall(r'href="(/admin/[a-z/]+/\?[a-z_]*customer__id__exact=\d+)"', page)
    assert len(lists) == 4
    for address in lists:
        changelist = staff.get(address).context["cl"]
        assert len(changelist.result_list) == 1, address
        assert changelist.has_active_filters, address


@pytest.mark.parametrize("kind", ["subscription", "account", "invoice", "payment"])
def test_each_of_it_leads_back_to_the_customer(
    staff: Client, follower: Follower, kind: str
) -> None:
    row = {
        "subscription": follower.subscription,
        "account": follower.account,
        "invoice": Invoice.objects.get(),
        "payment": Payment.objects.get(),
    }[kind]
    assert page_of(follower.customer) in text(staff.get(page_of(row)))
    options = row._meta
    listed = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    assert page_of(follower.customer) in text(staff.get(listed))


def test_a_subscription_and_its_account_link_to_each_other(
    staff: Client, follower: Follower
) -> None:
    """The subscription's page and the account's also link to what was traded."""
    for row in (follower.subscription, follower.account):
        page = text(staff.get(page_of(row)))
        links = re.findall(r'class="ql-link" href="(/admin/[a-z/]+/\?[a-z_]+=\d+)"', page)
        assert len(links) >= 2, row
        for address in links:
            assert staff.get(address).status_code == 200, address
    changelist = reverse("admin:subscriptions_subscription_changelist")
    listing = staff.get(changelist, {"allocations__account__id__exact": follower.account.pk})
    assert [row.pk for row in listing.context["cl"].result_list] == [follower.subscription.pk]


def test_the_page_asks_as_often_for_many_as_for_none(staff: Client) -> None:
    customer = make_customer(make_partner())

    def count(owner: Customer) -> int:
        with CaptureQueriesContext(connection) as seen:
            text(staff.get(page_of(owner)))
        return len(seen)

    count(customer)  # what a process remembers it asks once
    none = count(customer)
    partner = make_partner()
    many = [subscribe_many(make_template(), 1, partner)[0] for _ in range(3)]
    Subscription.objects.update(customer=many[0].customer)
    assert count(many[0].customer) == none


def test_nobody_sees_what_they_may_not_view(staff: Client, follower: Follower) -> None:
    clerk = StaffUser.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_customer"))
    staff.force_login(clerk)
    page = text(staff.get(page_of(follower.customer)))
    assert "</h2>" not in page.partition("ql-belongings")[2].partition("</form>")[0]
    assert len(BELONGINGS.all()) == 4
