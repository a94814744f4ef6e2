"""Credit that was paid out of money that bounced keeps from what is paid (adr 0053)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import Tenant, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.models import StaffUser
from quantleap.core.tests.confirming import confirm
from subscriptions import services
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import Invoice
from subscriptions.billing.settlement import customer_credit
from subscriptions.billing.tests.factories import bill, bounce, load_billing, noon, pay
from subscriptions.errors import PaymentDue
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 8, 4)
LATER = DAY + dt.timedelta(days=3)
TOTAL = Decimal("1178.82")
WHO = "asha@example.com"


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_billing()
    load_reference_data()
    return make_tenant("zebu")


@pytest.fixture
def debtor(tenant: Tenant) -> Customer:
    """Paid 500 rupees too much, was paid 400 of them out, and the bank took all of it back."""
    old = make_subscription(make_template(), tenant.partner, email=WHO, now=noon(DAY))
    bill(DAY)
    invoice = Invoice.objects.get()
    paid = pay(invoice, TOTAL + 500, day=DAY).payment
    customer_credit.pay_out(
        customer_id=old.customer_id,
        idem_key="out",
        amount=Decimal(400),
        method="UPI",
        reference="back 1",
        actor=SYSTEM,
        now=noon(DAY),
    )
    with connection.cursor() as cursor:  # the paying out is judged by itself, as at its commit
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    bounce(paid.receipt, LATER)
    assert customer_credit.available(old.customer) == -400
    return old.customer


def subscribe(tenant: Tenant, template: Any, email: str = WHO) -> Subscription:
    return make_subscription(template, tenant.partner, email=email, now=noon(LATER))


def test_who_owed_paid_out_credit_subscribed_to_another(tenant: Tenant, debtor: Customer) -> None:
    body = {
        "template_id": make_template().public_id,
        "user_email": WHO,
        "broker_client_id": "Z1",
    }
    with time_machine.travel(noon(LATER), tick=False):
        refused = tenant.client.post("/partner/marketplace/subscribe", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_due")
    assert refused.json()["invoice_id"] is refused.json()["invoice_number"] is None
    assert "₹400.00 are owed" in refused.json()["message"]
    assert Subscription.objects.count() == 1


def test_an_unpaid_invoice_is_named_first(tenant: Tenant, debtor: Customer) -> None:
    old = Subscription.objects.get()
    services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(LATER))
    with pytest.raises(PaymentDue) as refused:
        subscribe(tenant, old.template)
    assert refused.value.extra["invoice_number"] == Invoice.objects.get().number


def test_others_what_is_free_and_what_runs_are_let_be(tenant: Tenant, debtor: Customer) -> None:
    old = Subscription.objects.get()
    paid, free = make_template(), make_template(fee=None)
    assert subscribe(tenant, paid, "ravi@example.com").status == "ACTIVE"
    assert subscribe(tenant, free).status == "ACTIVE"
    services.pause(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(LATER))
    services.resume(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(LATER))
    old.refresh_from_db()
    assert old.status == "ACTIVE"


def test_what_comes_in_pays_it_and_opens_the_way(tenant: Tenant, debtor: Customer) -> None:
    """Recorded where no invoice is open, as the console does it: all of it is credit."""
    template, invoice = make_template(), Invoice.objects.get()
    pay(invoice, TOTAL, key="anew", day=LATER)
    with pytest.raises(PaymentDue):
        subscribe(tenant, template)
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    page = reverse("admin:billing_invoice_record_receipt", args=[invoice.pk])
    body = {
        "amount": "400.00",
        "method": "UPI",
        "reference": "UTR 99",
        "received_on": LATER.isoformat(),
    }
    with time_machine.travel(noon(LATER), tick=False):
        confirm(client, page, {**body, "again": "yes"})
    assert customer_credit.available(debtor) == 0
    assert subscribe(tenant, template).status == "ACTIVE"
    assert checks.check_ledger(now=noon(LATER)).findings == []
