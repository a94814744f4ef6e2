"""What a subscription's answers say of its payment and its next bill; who may subscribe again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace.models import Template
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.suspensions import suspend_partner
from partners.tests.factories import Tenant, customer_client, make_partner, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent, StaffUser
from quantleap.core.tests.parallel import at_once
from subscriptions import services
from subscriptions.api.event_objects import shown as shown_in
from subscriptions.billing.models import Invoice
from subscriptions.billing.reach import reach
from subscriptions.billing.selectors import withheld_segments
from subscriptions.billing.settlement import debts
from subscriptions.billing.settlement.balance_due import balance_due
from subscriptions.billing.tests.factories import (
    HOME,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)
from subscriptions.errors import DuplicateSubscription, PaymentDue
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 8, 4)
NEXT = dt.date(2026, 9, 4)
#: Seven days to pay: QUANTLEAP_INVOICE_DUE_DAYS.
DUE = dt.date(2026, 8, 11)
TOTAL = Decimal("1178.82")


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_billing()
    load_reference_data()
    return make_tenant("zebu")


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return make_template()


def shown(tenant: Tenant, subscription: Subscription, on: dt.date) -> dict[str, Any]:
    """The subscription in the list, which must be the same on its own page."""
    with time_machine.travel(noon(on), tick=False):
        listed = tenant.client.get("/partner/subscriptions?per_page=100").json()["subscriptions"]
        single = tenant.client.get(f"/partner/subscriptions/{subscription.public_id}").json()
    row: dict[str, Any] = next(
        entry for entry in listed if entry["subscription_id"] == subscription.public_id
    )
    for name in ("payment", "next_billing_date", "next_billing_at", "pricing"):
        assert single[name] == single["subscription"][name] == row[name]
    return row


def payment(tenant: Tenant, subscription: Subscription, on: dt.date) -> tuple[Any, Any, Any]:
    details = shown(tenant, subscription, on)["payment"]
    assert (details["currency"], details["pay_url"]) == ("INR", None)
    return details["status"], details["due_by"], details["amount"]


def test_from_the_first_invoice_to_the_last_payment(tenant: Tenant, template: Template) -> None:
    (mine,) = follow(template, tenant.partner, [DAY])
    assert payment(tenant, mine, DAY) == ("NOT_INVOICED", None, None)
    bill(DAY)
    assert payment(tenant, mine, DUE) == ("DUE", "2026-08-11", 1178.82)
    late = DUE + dt.timedelta(days=1)
    assert payment(tenant, mine, late) == ("OVERDUE", "2026-08-11", 1178.82)
    (first,) = Invoice.objects.all()
    pay(first, Decimal("178.82"))
    assert payment(tenant, mine, late) == ("OVERDUE", "2026-08-11", 1000)
    bill(NEXT)
    assert payment(tenant, mine, NEXT) == ("OVERDUE", "2026-08-11", 2178.82)
    pay(first, Decimal("1000.00"), key="rest")
    assert payment(tenant, mine, NEXT) == ("DUE", "2026-09-11", 1178.82)
    second = Invoice.objects.exclude(pk=first.pk).get()
    pay(second, TOTAL)
    assert payment(tenant, mine, NEXT) == ("PAID", None, None)
    credit(second, Decimal("100.00"))
    assert payment(tenant, mine, NEXT) == ("PAID", None, None)
    credit(second, TOTAL - 100, key="all")
    assert payment(tenant, mine, NEXT) == ("CREDITED", None, None)


def test_an_older_debt_counts_before_a_newer_payment(tenant: Tenant, template: Template) -> None:
    (mine,) = follow(template, tenant.partner, [DAY])
    bill(NEXT)
    _, second = Invoice.objects.order_by("id")
    pay(second, TOTAL)
    due_by = (NEXT + dt.timedelta(days=7)).isoformat()  # both were issued on that day
    assert payment(tenant, mine, NEXT) == ("DUE", due_by, 1178.82)


def test_what_is_never_billed(tenant: Tenant) -> None:
    (free,) = follow(make_template(fee=None), tenant.partner, [DAY], fee=0)
    assert payment(tenant, free, DAY) == ("NOT_REQUIRED", None, None)
    row = shown(tenant, free, DAY)
    assert (row["next_billing_date"], row["pricing"]["billing_start_date"]) == (None, None)


def test_the_next_bill_is_the_one_that_will_come(tenant: Tenant, template: Template) -> None:
    """Paused: none, however long it lasts. Resumed later: counted from a new anchor."""
    (mine,) = follow(template, tenant.partner, [DAY])
    assert shown(tenant, mine, DAY)["next_billing_date"] == "2026-09-04"
    pause = dt.date(2026, 8, 20)
    act: dict[str, Any] = {"subscription_id": mine.pk, "actor": SYSTEM, "reason": "USER"}
    services.pause(**act, now=noon(pause))
    for day in (pause, dt.date(2026, 10, 1)):
        row = shown(tenant, mine, day)
        assert row["next_billing_date"] is None
        assert row["pricing"]["next_billing_date"] is None
        assert row["next_billing_at"] is None
    again = dt.date(2026, 10, 10)
    services.resume(**act, now=noon(again))
    row = shown(tenant, mine, again)
    assert row["next_billing_date"] == "2026-11-10"
    assert row["next_billing_at"] == "2026-11-09T18:30:00.000000Z"
    bill(again)
    assert Invoice.objects.order_by("-id").values_list("period_end", flat=True)[0] == dt.date(
        2026, 11, 10
    )
    services.cancel(**act, now=noon(again))
    assert shown(tenant, mine, again)["next_billing_date"] is None


@pytest.mark.parametrize(
    ("until", "expected"),
    [("2026-08-31", None), ("2026-09-04", "2026-09-04")],
    ids=["before", "on"],
)
def test_a_date_was_shown_after_the_end_of_a_suspended_run(
    tenant: Tenant, template: Template, until: str, expected: str | None
) -> None:
    """Seen: 4 September in every answer, of who trades until 31 August and is never billed then."""
    (mine,) = follow(template, tenant.partner, [DAY])
    suspend(tenant, until)
    with time_machine.travel(noon(DAY), tick=False):
        client = customer_client(mine.customer)
        (listed,) = client.get("/user/subscriptions").json()["subscriptions"]
        single = client.get(f"/user/subscriptions/{mine.public_id}").json()
    event = OutboxEvent(
        event_id="evt_1",
        type="subscription.paused",
        object_id=mine.public_id,
        partner_id=mine.partner_id,
        environment="live",
    )
    for row in (listed, single, single["subscription"], shown_in([event], noon(DAY))["evt_1"]):
        assert (row["next_billing_date"], row["pricing"]["next_billing_date"]) == (expected,) * 2
        assert (row["next_billing_at"] is None) == (expected is None)
    console = Client()
    console.force_login(StaffUser.objects.create_superuser("asha"))
    with time_machine.travel(noon(DAY), tick=False):
        page = console.get(reverse("admin:subscriptions_subscription_change", args=[mine.pk]))
    assert ("4 Sep 2026" in page.content.decode()) == (expected is not None)
    bill(DAY)
    with time_machine.travel(noon(DAY), tick=False):
        due = console.get(reverse("admin:billing_billingsegment_changelist"))
    assert ("the partner&#x27;s run ends on" in due.content.decode()) == (expected is None)


def test_a_month_after_the_end_of_a_suspended_run_was_owed(
    tenant: Tenant, template: Template
) -> None:
    """Seen: NOT_INVOICED and withheld, before beat had come by."""
    mine, nowhere = follow(template, tenant.partner, [DAY] * 2)
    bill(DAY)
    pay(Invoice.objects.get(subscription=mine), TOTAL)
    Customer.objects.filter(pk=nowhere.customer_id).update(state="")
    for until, status, withheld in (("2026-09-04", "NOT_INVOICED", 1), ("2026-08-31", "PAID", 0)):
        suspend(tenant, until)
        mine = Subscription.objects.select_related("customer").get(pk=mine.pk)
        assert balance_due(mine, NEXT).status == status
        assert withheld_segments(NEXT, NEXT).count() == withheld
        coming = {figure.label: figure.live for figure in reach(tenant.partner.pk, noon(DAY))}
        assert (coming["Next billing"] == "4 Sep 2026: 2") == bool(withheld)
    assert bill(NEXT).withheld == 0


def suspend(tenant: Tenant, until: str) -> None:
    suspend_partner(
        partner_id=tenant.partner.pk,
        plan="RUN_UNTIL",
        run_until=dt.date.fromisoformat(until),
        reason="complaints",
        actor=SYSTEM,
        now=noon(DAY),
    )


def test_a_customer_sees_the_same_of_his_own(tenant: Tenant, template: Template) -> None:
    (mine,) = follow(template, tenant.partner, [DAY])
    follow(template, tenant.partner, [DAY])
    bill(DAY)
    with time_machine.travel(noon(DAY), tick=False):
        client = customer_client(mine.customer)
        (row,) = client.get("/user/subscriptions").json()["subscriptions"]
    assert row["payment"]["status"] == "DUE"
    assert row["payment"]["amount"] == 1178.82


def test_the_list_takes_as_many_queries_as_before(tenant: Tenant, template: Template) -> None:
    """At most 3, with invoices or without, few or many."""

    def count() -> int:
        with CaptureQueriesContext(connection) as seen:
            tenant.client.get("/partner/subscriptions?per_page=100")
        return len([query for query in seen if "subscriptions_" in query["sql"]])

    follow(template, tenant.partner, [DAY])
    few = count()
    follow(template, tenant.partner, [DAY] * 20)
    bill(NEXT)
    assert count() == few <= 3


# -- who owes does not subscribe again -------------------------------------------------------------
def _debtor() -> tuple[Template, Any, Subscription]:
    """A template, its partner, and a live subscription of asha's with an unpaid invoice."""
    load_billing()
    load_reference_data()
    template, partner = make_template(), make_partner("zebu")
    old = make_subscription(template, partner, email="asha@example.com", now=noon(DAY))
    Customer.objects.update(state=HOME)
    bill(DAY)
    return template, partner, old


def _subscribe_again(template: Template, partner: Any) -> str:
    try:
        make_subscription(template, partner, email="asha@example.com", now=noon(DAY))
    except (PaymentDue, DuplicateSubscription) as error:
        return type(error).__name__
    return "made"


@pytest.mark.django_db(transaction=True)
def test_subscribing_while_cancelling_is_refused_every_time() -> None:
    """Seven calls run beside the cancellation: each is refused as a duplicate or for a debt."""
    template, partner, old = _debtor()

    def call(number: int) -> str:
        if number == 0:
            services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(DAY))
            return "cancelled"
        return _subscribe_again(template, partner)

    done = at_once(8, call)
    assert set(done) <= {"cancelled", "DuplicateSubscription", "PaymentDue"}
    assert Subscription.objects.count() == 1
    assert _subscribe_again(template, partner) == "PaymentDue"


@pytest.mark.django_db(transaction=True)
def test_control_without_the_question_a_debtor_subscribes(monkeypatch: pytest.MonkeyPatch) -> None:
    template, partner, old = _debtor()
    services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(DAY))
    monkeypatch.setattr(debts, "unpaid_invoice", lambda *_arguments: None)
    done = at_once(4, lambda _number: _subscribe_again(template, partner))
    assert sorted(done) == ["DuplicateSubscription"] * 3 + ["made"]


@pytest.mark.django_db(transaction=True)
def test_paying_while_subscribing_is_one_before_the_other() -> None:
    """Paid first: one new subscription. Asked first: refused. Nothing in between."""
    template, partner, old = _debtor()
    services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(DAY))
    invoice = Invoice.objects.get()

    def call(number: int) -> str:
        if number == 0:
            pay(invoice, TOTAL)
            return "paid"
        return _subscribe_again(template, partner)

    done = at_once(6, call)
    assert set(done) <= {"paid", "made", "PaymentDue", "DuplicateSubscription"}
    assert done.count("made") <= 1
    assert _subscribe_again(template, partner) == (
        "DuplicateSubscription" if "made" in done else "made"
    )


def test_the_refusal_names_the_invoice(tenant: Tenant, template: Template) -> None:
    old = make_subscription(template, tenant.partner, email="asha@example.com", now=noon(DAY))
    Customer.objects.update(state=HOME)
    bill(DAY)
    services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(DAY))
    with pytest.raises(PaymentDue) as refused:
        make_subscription(template, tenant.partner, email="asha@example.com", now=noon(DAY))
    assert refused.value.extra["invoice_id"] == Invoice.objects.get().public_id
