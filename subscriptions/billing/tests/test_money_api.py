"""Money over HTTP: the trace from a month down to the books, tenancy, bad input, query counts."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.models import Template
from marketplace.services import adjust_subscriber_count
from marketplace.tests.factories import load_reference_data, make_template
from partners import permissions
from partners.tests.factories import (
    Tenant,
    customer_client,
    make_key,
    make_tenant,
    partner_client,
    strangers,
)
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.billing.ledger import posting
from subscriptions.billing.models import Commission, Invoice, LedgerEntry
from subscriptions.billing.tests.factories import (
    START,
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

TOTAL = Decimal("1178.82")


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_billing()
    load_reference_data()
    return make_tenant("zebu")


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return make_template(name="Iron Condor")


@pytest.fixture
def mine(tenant: Tenant, template: Template) -> Invoice:
    follow(template, tenant.partner, [START])
    bill(START)
    return Invoice.objects.get()


def get(client: Any, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.json()
    return answer.json()


# -- the trace -----------------------------------------------------------------------------------
def test_a_months_commission_is_traced_down_to_the_entries(
    tenant: Tenant, template: Template
) -> None:
    other = make_template(name="Straddle")
    follow(template, tenant.partner, [START] * 3)
    follow(other, tenant.partner, [START], fee=500)
    follow(template, make_tenant().partner, [START])
    bill(START)
    mine = Invoice.objects.filter(partner_id=tenant.partner.pk)
    for invoice in Invoice.objects.order_by("id"):
        pay(invoice, invoice.total)
    for invoice in mine.filter(taxable=999).order_by("id")[:2]:
        credit(invoice, Decimal("500.00"))

    month = get(tenant.client, f"/partner/revenue?month={START:%Y-%m}")
    assert month["subscribers"] == {"total": 4, "active": 4}
    assert month["commission"] == {
        "accrued": 3 * 299.70 + 150,
        "clawed_back": -254.26,
        "net": 794.84,
        "matured": 0,
    }
    assert (month["revenue"]["invoiced"], month["revenue"]["net"]) == (3497, 2649.52)
    assert [row["template_name"] for row in month["top_strategies"]] == ["Iron Condor", "Straddle"]
    assert month["top_strategies"][1]["commission"] == 150

    # the month's total is the sum of the rows …
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = get(tenant.client, f"/partner/commissions?per_page=2{cursor}")
        rows += page["commissions"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(rows) == len({row["commission_id"] for row in rows}) == 6
    exact = sum((Decimal(str(row["amount"])) for row in rows), Decimal(0))
    assert exact == Decimal(str(month["commission"]["net"]))
    # … each of which has its invoice, its payment, and its entries in the books
    invoices = get(tenant.client, "/partner/invoices?per_page=100")["invoices"]
    known = {invoice["invoice_id"]: invoice for invoice in invoices}
    booked = Decimal(0)
    for row in rows:
        invoice = known[row["invoice_id"]]
        assert invoice["number"] == row["invoice_number"]
        assert Invoice.objects.get(public_id=row["invoice_id"]).payments.filter(
            public_id=row["payment_id"]
        )
        entries = {entry["account"]: Decimal(str(entry["amount"])) for entry in row["entries"]}
        assert entries["revshare_expense"] == Decimal(str(row["amount"]))
        assert sum(entries.values()) == 0
        held = LedgerEntry.objects.filter(transaction__idem_key=row["transaction"])
        assert entries == {entry.account.code: entry.amount for entry in held}
        booked += entries["partner_payable_pending:zebu"]
    assert booked == -exact == posting.balance("partner_payable_pending:zebu")


def test_a_month_without_anything(tenant: Tenant) -> None:
    month = get(tenant.client, "/partner/revenue?month=2025-01")
    assert month["subscribers"] == {"total": 0, "active": 0}
    assert month["commission"]["net"] == month["revenue"]["net"] == 0
    assert month["top_strategies"] == []


def test_subscribers_are_counted_as_of_the_months_end(tenant: Tenant, template: Template) -> None:
    (subscription,) = follow(template, tenant.partner, [START])
    follow(template, tenant.partner, [dt.date(2026, 2, 10)])
    adjust_subscriber_count(template_id=template.pk, delta=2)
    services.cancel(
        subscription_id=subscription.pk, actor=SYSTEM, reason="USER", now=noon(dt.date(2026, 2, 20))
    )
    counted = [
        get(tenant.client, f"/partner/revenue?month={month}")["subscribers"]
        for month in ("2025-12", "2026-01", "2026-02")
    ]
    assert counted == [
        {"total": 0, "active": 0},
        {"total": 1, "active": 1},
        {"total": 2, "active": 1},
    ]


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "2099-01", "x", "2026-01-01", "٢٠٢٦-٠١"])
def test_a_bad_month_is_refused(tenant: Tenant, month: str) -> None:
    answer = tenant.client.get("/partner/revenue", {"month": month})
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == ["month"]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "com_unknown", "aWQ6MQ", "1", "-1", "%00", "com_%00", "%E2%82%B9", "x" * 999],
)
def test_a_bad_cursor_is_refused(tenant: Tenant, cursor: str) -> None:
    answer = tenant.client.get(f"/partner/commissions?cursor={cursor}")
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == ["cursor"]


def test_anothers_commission_is_no_cursor(
    tenant: Tenant, template: Template, mine: Invoice
) -> None:
    others = make_tenant()
    follow(template, others.partner, [START])
    bill(START)
    for invoice in Invoice.objects.all():
        pay(invoice, TOTAL)
    (own, foreign) = (
        Commission.objects.get(partner_id=owner.partner.pk).public_id for owner in (tenant, others)
    )
    assert get(tenant.client, f"/partner/commissions?cursor={own}")["commissions"] == []
    answers = [
        tenant.client.get(f"/partner/commissions?cursor={cursor}", headers={"X-Request-Id": "same"})
        for cursor in (foreign, "com_unknown", mine.public_id)
    ]
    assert {answer.status_code for answer in answers} == {400}
    assert len({answer.content for answer in answers}) == 1


# -- who may see what ----------------------------------------------------------------------------
PARTNER_PATHS = ("/partner/invoices", "/partner/revenue", "/partner/commissions")


@pytest.mark.parametrize("path", PARTNER_PATHS)
def test_a_key_needs_the_permission(tenant: Tenant, path: str) -> None:
    others = set(permissions.ALL) - {permissions.REVENUE_READ}
    answer = partner_client(make_key(tenant.partner, permissions=others)).get(path)
    assert answer.status_code == 403
    assert answer.json()["details"] == {"permission": "revenue:read"}


def test_nobody_sees_anothers_money(tenant: Tenant, mine: Invoice) -> None:
    pay(mine, TOTAL)
    for stranger in strangers(tenant):
        assert get(stranger.client, "/partner/invoices")["invoices"] == []
        assert get(stranger.client, "/partner/commissions")["commissions"] == []
        month = get(stranger.client, f"/partner/revenue?month={START:%Y-%m}")
        assert month["commission"]["net"] == month["revenue"]["invoices"] == 0
    (other,) = follow(make_template(), tenant.partner, [START])
    his, hers = customer_client(mine.customer), customer_client(other.customer)
    assert get(his, f"/user/invoices/{mine.public_id}")["invoice"]["total"] == 1178.82
    unknown = hers.get("/user/invoices/inv_unknown")
    refused = hers.get(f"/user/invoices/{mine.public_id}")
    assert unknown.status_code == refused.status_code == 404
    bodies = [answer.json() | {"request_id": ""} for answer in (unknown, refused)]
    assert bodies[0] == bodies[1]
    assert hers.get("/user/invoices/%00").status_code == 404
    assert get(hers, "/user/invoices")["invoices"] == []
    assert get(hers, "/user/payments")["payments"] == []


def test_a_customers_own_money_without_any_commission(mine: Invoice) -> None:
    pay(mine, Decimal("1200.00"))
    credit(mine, Decimal("500.00"))
    client = customer_client(mine.customer)
    invoice = get(client, f"/user/invoices/{mine.public_id}")["invoice"]
    assert (invoice["status"], invoice["outstanding"]) == ("PAID", 0)
    (payment,) = invoice["payments"]
    assert (payment["applied"], payment["excess"]) == (1178.82, 21.18)
    (note,) = invoice["credit_notes"]
    assert (note["total"], note["refunded"], note["taxable"]) == (500, 500, 423.74)
    assert get(client, "/user/payments")["payments"] == [payment]
    for path in ("/user/invoices", f"/user/invoices/{mine.public_id}", "/user/payments"):
        assert "commission" not in client.get(path).content.decode()


# -- the same queries for many -------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/partner/invoices", "/partner/commissions", "/partner/revenue"])
def test_as_many_queries_for_many(tenant: Tenant, template: Template, path: str) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as seen:
            get(tenant.client, f"{path}{query}")
        return len(seen)

    query = f"?month={START:%Y-%m}" if path.endswith("revenue") else "?per_page=100"
    follow(template, tenant.partner, [START])
    bill(START)
    pay(Invoice.objects.get(), TOTAL)
    count()  # the key's secret is remembered from here on
    few = count()
    follow(template, tenant.partner, [START] * 12)
    bill(START)
    for invoice in Invoice.objects.filter(status="DUE"):
        pay(invoice, TOTAL)
        credit(invoice, Decimal("100.00"))
    assert count() == few


# -- what subscribing and the subscription's page know of it -------------------------------------
def test_an_unpaid_invoice_blocks_subscribing_again(tenant: Tenant, template: Template) -> None:
    day = dt.date(2026, 8, 4)
    old = make_subscription(template, tenant.partner, email="asha@example.com", now=noon(day))
    Subscription.objects.get().customer.__class__.objects.update(state="33")
    bill(day)
    invoice = Invoice.objects.get()
    body = {
        "template_id": template.public_id,
        "user_email": "asha@example.com",
        "user_state": "33",
        "broker_client_id": "A1",
    }

    def again() -> Any:
        return tenant.client.post("/partner/marketplace/subscribe", body)

    assert again().json()["code"] == "duplicate_subscription"
    with pytest.raises(DuplicateSubscription):
        make_subscription(template, tenant.partner, email="asha@example.com", now=noon(day))
    services.cancel(subscription_id=old.pk, actor=SYSTEM, reason="USER", now=noon(day))
    answer = again()
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_due")
    assert answer.json()["invoice_id"] == invoice.public_id
    with pytest.raises(PaymentDue):
        make_subscription(template, tenant.partner, email="asha@example.com", now=noon(day))
    assert Subscription.objects.count() == 1
    # another template, and another customer, may
    make_subscription(make_template(), tenant.partner, email="asha@example.com", now=noon(day))
    make_subscription(template, tenant.partner, email="ravi@example.com", now=noon(day))
    pay(invoice, invoice.total)
    assert again().status_code == 201


def test_the_subscription_shows_its_shares_to_date(tenant: Tenant, mine: Invoice) -> None:
    path = f"/partner/subscriptions/{mine.subscription.public_id}"

    def tracking() -> Any:
        return get(tenant.client, path)["revenue_share_tracking"]

    assert tracking() == {"partner_share": 0, "platform_share": 0, "currency": "INR"}
    pay(mine, TOTAL)
    assert tracking() == {"partner_share": 299.7, "platform_share": 699.3, "currency": "INR"}
    credit(mine, TOTAL)
    assert tracking() == {"partner_share": 0, "platform_share": 0, "currency": "INR"}
    assert Commission.objects.count() == 2
