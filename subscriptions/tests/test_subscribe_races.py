"""Many subscribing at once: real transactions, and the same without the constraint."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from brokers.models import BrokerAccount
from marketplace.models import Template, TemplateStats
from marketplace.services import withdraw
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import (
    make_customer,
    make_partner,
    make_tenant,
    partner_client,
)
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import NotFound
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.tests.parallel import at_once, somebody_waits
from subscriptions import services
from subscriptions.billing.models import BillingSegment
from subscriptions.errors import DuplicateSubscription
from subscriptions.models import Allocation, ShareLine, Subscription
from subscriptions.services import subscribing
from subscriptions.tests.factories import make_subscription

URL = "/partner/marketplace/subscribe"
CALLERS = 50


def body(template: Template) -> dict[str, Any]:
    return {
        "template_id": template.public_id,
        "user_email": "asha@example.com",
        "user_state": "33",
        "broker_client_id": "ZEBU123",
    }


@pytest.mark.django_db(transaction=True)
def test_fifty_parallel_posts_make_one() -> None:
    load_reference_data()
    tenant, template = make_tenant(), make_template()

    def post(_number: int) -> Any:
        client = partner_client(tenant.key)
        return client.post(URL, body(template))

    answers = at_once(CALLERS, post)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (CALLERS - 1)
    created_id = next(a for a in answers if a.status_code == 201).json()["subscription_id"]
    refused = {a.json().get("existing_subscription_id") for a in answers if a.status_code == 409}
    assert refused == {created_id}
    assert Subscription.objects.count() == Allocation.objects.count() == 1
    assert Customer.objects.count() == BrokerAccount.objects.count() == 1
    assert TemplateStats.objects.get(template=template).subscriber_count == 1
    assert OutboxEvent.objects.filter(type="subscription.created").count() == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_the_constraint_parallel_posts_make_many() -> None:
    """The same calls without ``subscription_one_live_uniq``: it is what keeps the promise."""
    load_reference_data()
    tenant, template = make_tenant(), make_template()
    make_customer(tenant.partner, "asha@example.com")

    def post(number: int) -> int:
        client = partner_client(tenant.key)
        status: int = client.post(URL, body(template)).status_code
        return status

    with _without_index("subscription_one_live_uniq"):
        answers = at_once(10, post)
        created = Subscription.objects.count()
        for model in (Allocation, ShareLine, BillingSegment, Subscription):
            model._default_manager.all().delete()
    assert answers.count(201) == created > 1


@contextmanager
def _without_index(name: str) -> Iterator[None]:
    """Drop an index as the database's owner, and put it back."""
    owner = settings.QUANTLEAP_OWNER_DATABASE
    target = connection.settings_dict
    with psycopg.connect(
        host=target["HOST"],
        port=target["PORT"] or None,
        dbname=target["NAME"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        autocommit=True,
    ) as session:
        row = session.execute("SELECT pg_get_indexdef(%s::regclass)", [name]).fetchone()
        assert row is not None
        session.execute(f"DROP INDEX {name}".encode())
        try:
            yield
        finally:
            session.execute(row[0].encode())


@pytest.mark.django_db(transaction=True)
def test_parallel_calls_of_a_customer_lock_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call has filled in the customer's state when another one subscribes them to a second
    template, on the same account. Each waits for the other only if they lock in different orders:
    this was a deadlock (500), seen with a backend that subscribes a customer to three at once."""
    load_reference_data()
    partner = make_partner()
    customer = make_customer(partner, state="")
    first, second = make_template(), make_template(fee=None)
    filled_in, go_on = threading.Event(), threading.Event()
    priced = subscribing._priced

    def wait_when_filled_in(template: Template, *arguments: Any) -> Subscription:
        if template == first:
            filled_in.set()
            assert go_on.wait(30)
        return priced(template, *arguments)

    monkeypatch.setattr(subscribing, "_priced", wait_when_filled_in)

    def call(number: int) -> None:
        if number == 0:
            make_subscription(first, partner, email=customer.email, client_id="ZEBU123")
        elif number == 1:
            assert filled_in.wait(30)
            make_subscription(
                second, partner, email=customer.email, client_id="ZEBU123", user_state=""
            )
        else:
            while not somebody_waits():
                pass
            go_on.set()

    at_once(3, call)
    assert Subscription.objects.filter(customer=customer).count() == 2


@pytest.mark.django_db(transaction=True)
def test_the_counter_is_exact_after_parallel_comings_and_goings() -> None:
    load_reference_data()
    template, partner = make_template(), make_partner()
    leaving = [make_subscription(template, partner) for _ in range(8)]

    def call(number: int) -> None:
        if number % 2:
            make_subscription(template, partner)
        else:
            services.cancel(
                subscription_id=leaving[number // 2].pk,
                actor=SYSTEM,
                reason=Subscription.Reason.USER,
                now=TEST_NOW + dt.timedelta(days=1),
            )

    at_once(16, call)
    live = Subscription.objects.exclude(status="CANCELLED").count()
    assert TemplateStats.objects.get(template=template).subscriber_count == live == 8


@pytest.mark.django_db(transaction=True)
def test_cancelling_at_once_counts_once() -> None:
    load_reference_data()
    template = make_template()
    subscription = make_subscription(template, make_partner())

    def call(_number: int) -> bool:
        return services.cancel(
            subscription_id=subscription.pk,
            actor=SYSTEM,
            reason=Subscription.Reason.USER,
            now=TEST_NOW + dt.timedelta(days=1),
        ).changed

    assert at_once(8, call).count(True) == 1
    assert TemplateStats.objects.get(template=template).subscriber_count == 0
    assert AuditEntry.objects.filter(action="subscription.cancelled").count() == 1
    assert OutboxEvent.objects.filter(type="subscription.cancelled").count() == 1


@pytest.mark.django_db(transaction=True)
def test_nobody_is_left_in_a_template_withdrawn_meanwhile() -> None:
    """Subscribing and withdrawing at once: refused, or cancelled with the rest; never live."""
    load_reference_data()
    template, partner = make_template(), make_partner()

    def call(number: int) -> str:
        if number == 0:
            withdraw(template_id=template.pk, actor=SYSTEM, now=TEST_NOW)
            return "withdrawn"
        try:
            make_subscription(template, partner)
        except NotFound:
            return "refused"
        except DuplicateSubscription:
            return "duplicate"
        return "made"

    results = at_once(12, call)
    assert set(results) <= {"withdrawn", "refused", "made"}
    assert Subscription.objects.exclude(status="CANCELLED").count() == 0
    assert Subscription.objects.count() == results.count("made")
    assert TemplateStats.objects.get(template=template).subscriber_count == 0
