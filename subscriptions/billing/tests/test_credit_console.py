"""Credit in the console, and what a hostile or hurried hand posts to the pages of money."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from marketplace.services import withdraw
from marketplace.tests.factories import make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import StaffUser
from quantleap.core.tests.confirming import confirm
from subscriptions import services
from subscriptions.billing.models import (
    CreditNote,
    CustomerCredit,
    Invoice,
    LedgerTransaction,
    Payment,
    Refund,
    WithdrawalCredit,
)
from subscriptions.billing.settlement import customer_credit, withdrawal_credits
from subscriptions.billing.tests.factories import START, bill, bounce, follow, noon, pay
from subscriptions.periods import add_months

NEXT = add_months(START, 1)
TOTAL = Decimal("1178.82")


@pytest.fixture
def invoices(console: Client) -> tuple[Invoice, Invoice]:
    follow(make_template(), make_partner("zebu"), [START])
    bill(NEXT)
    first, second = Invoice.objects.order_by("id")
    return first, second


def url(row: Any, page: str = "change") -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{page}", args=[row.pk])


def post(client: Client, page: str, **fields: str) -> HttpResponse:
    """As after the second question."""
    answer: HttpResponse = confirm(client, page, {"again": "yes", **fields}, follow=True)
    return answer


def text(answer: Any) -> str:
    return str(answer.content.decode())


# -- credit --------------------------------------------------------------------------------------
def test_credit_is_offered_used_once_and_a_stale_page_is_refused(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    first, second = invoices
    pay(first, TOTAL + 500)
    page = url(second, "use_credit")
    asked = text(console.get(page))
    assert "has ₹500.00 of credit and owes ₹1,178.82" in asked
    assert 'value="500.00"' in asked
    assert f'type="hidden" name="seen" value="{TOTAL}"' in asked
    seen = str(TOTAL)
    assert "₹200.00 of credit are used" in text(post(console, page, amount="200.00", seen=seen))
    again = text(post(console, page, amount="200.00", seen=seen))
    assert "were used before from this page" in again
    assert post(console, page, amount="100.00", seen=seen).status_code == 409, (
        "same page, other sum"
    )
    stale = post(console, page, amount="100.00", seen="1000.00")
    assert stale.status_code == 409
    assert "open it again" in text(stale)
    assert post(console, page, amount="100.00").status_code == 400, "without what was seen"
    assert Payment.objects.filter(method="CUSTOMER_CREDIT").count() == 1
    assert customer_credit.available(first.customer) == 300
    rest = {"amount": "300.00", "seen": str(TOTAL - 200)}
    assert "₹300.00 of credit are used" in text(post(console, page, **rest))
    assert "were used before from this page" in text(post(console, page, **rest)), "answer lost"
    more = post(console, page, amount="900.00", seen="1.00")
    assert f"Outstanding on {second.number} is ₹678.82; ₹900.00 is more" in text(more)


def test_credit_is_listed_explained_and_paid_out(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    first, _ = invoices
    empty = text(console.get(reverse("admin:billing_customercredit_changelist")))
    assert "No customer has credit" in empty
    pay(first, TOTAL + 500)
    row = CustomerCredit.objects.get(code__startswith="customer_credit:")
    listed = text(console.get(reverse("admin:billing_customercredit_changelist")))
    assert "₹500.00" in listed
    assert first.customer.email in listed
    page = text(console.get(url(row)))
    assert "₹500.00" in page
    assert "payment" in page
    out = url(row, "pay_out")
    assert 'value="500.00"' in text(console.get(out))
    body = {"amount": "500.00", "method": "UPI", "reference": "UTR 9"}
    once = confirm(console, out, body)
    assert "This cannot be undone" in text(once)
    assert dict(once.context["figures"])["Rupees"] == "₹500.00"
    assert not Refund.objects.exists()
    post(console, out, **body)
    again = post(console, out, **body)
    assert f"₹500.00 are paid out as {Refund.objects.get()}" in text(again)
    other = post(console, out, **body | {"reference": "UTR 10"})
    assert "credit is ₹0.00; ₹500.00 is more" in text(other)
    assert Refund.objects.count() == 1
    assert customer_credit.available(first.customer) == 0


def test_credit_paid_out_and_owed_again_is_named_a_debt(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    """Seen: "has -₹500.00 of credit" above the form that pays it out."""
    first, _ = invoices
    receipt = pay(first, TOTAL + 500).payment.receipt
    row = CustomerCredit.objects.get(code__startswith="customer_credit:")
    out = url(row, "pay_out")
    post(console, out, amount="500.00", method="UPI", reference="UTR 9")
    with connection.cursor() as cursor:  # each of the two is a transaction of its own
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    bounce(receipt, clock.ist_date(clock.now()))
    assert "owes us ₹500.00: there is nothing to pay out" in text(console.get(out))
    assert "₹500.00 owed to us" in text(console.get(url(row)))


def test_staff_credit_a_cancelled_customer_with_what_is_unused(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    """The page says what the days after the cancellation cost; the money may stay with us."""
    _, second = invoices
    pay(second, TOTAL, day=NEXT)
    services.cancel(
        subscription_id=second.subscription_id, actor=SYSTEM, reason="USER",
        now=noon(NEXT + dt.timedelta(days=10)),
    )  # fmt: skip
    page = url(second, "refund")
    asked = text(console.get(page))
    assert "was cancelled on 10 Mar 2026" in asked
    # 28 Feb to 30 Mar: 20 of 31 days
    assert "after it cost ₹760.51" in asked
    done = post(
        console, page, amount="760.51", method="CUSTOMER_CREDIT", reference="ticket 4",
        reason="Cancelled early", seen=str(0),
    )  # fmt: skip
    assert "is issued over ₹760.51" in text(done)
    assert Refund.objects.get().method == "CUSTOMER_CREDIT"
    assert customer_credit.available(second.customer) == Decimal("760.51")


def test_withdrawal_credits_are_to_look_at(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    template = invoices[0].subscription.template
    withdraw(template_id=template.pk, actor=SYSTEM, now=noon(NEXT))
    withdrawal_credits.credit_due(now=noon(NEXT))
    row = WithdrawalCredit.objects.get()
    note = CreditNote.objects.get()
    for page in (reverse("admin:billing_withdrawalcredit_changelist"), url(row), url(note)):
        assert note.number in text(console.get(page)), page
    assert console.post(url(row), {"withdrawn_on": "2026-01-01"}).status_code == 403
    assert console.get(reverse("admin:billing_withdrawalcredit_add")).status_code == 403


# -- hostile hands -------------------------------------------------------------------------------
AMOUNTS = (
    "0", "0.00", "-1", "-0.01", "0.001", "1.234", "1e3000", "NaN", "Infinity", "-Infinity", "1,000",
    "10000000000", "99999999999999999999", "", " ", "abc", "0x10", "1\0",
)  # fmt: skip
OTHERS = (
    {"method": "GOLD"}, {"method": ""}, {"reference": ""}, {"reference": "   "},
    {"reference": "x" * 81}, {"reference": "a\0b"},
)  # fmt: skip


def pages(invoices: tuple[Invoice, Invoice]) -> list[tuple[str, dict[str, str]]]:
    """Every page that moves money, with a body that it would accept."""
    first, second = invoices
    paid = pay(first, TOTAL + 500, key="much").payment
    account = CustomerCredit.objects.get(code__startswith="customer_credit:")
    money = {"amount": "1.00", "method": "UPI", "reference": "UTR 1"}
    return [
        (url(second, "use_credit"), {"amount": "1.00", "seen": str(TOTAL)}),
        (url(second, "record_payment"), money | {"received_on": NEXT.isoformat()}),
        (url(first, "refund"), money | {"reason": "Goodwill"}),
        (url(paid, "return_excess"), money),
        (url(account, "pay_out"), money),
    ]


def moved() -> int:
    return LedgerTransaction.objects.count()


def test_no_page_takes_a_wrong_amount_method_or_reference(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    forms = pages(invoices)
    before = moved()
    for page, body in forms:
        wrong: list[dict[str, str]] = [{"amount": amount} for amount in AMOUNTS]
        if "reference" in body:
            wrong += OTHERS
        for change in wrong:
            answer = post(console, page, **(body | change))
            assert answer.status_code == 400, (page, change)
    assert moved() == before
    # control: each of these bodies is accepted as it stands
    for page, body in forms:
        assert post(console, page, **body).status_code == 200, page
    assert moved() > before


def test_money_that_is_used_is_no_way_to_receive_or_to_pay_out(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    for page, body in pages(invoices):
        if "method" in body and "refund" not in page:
            answer = post(console, page, **(body | {"method": "CUSTOMER_CREDIT"}))
            assert answer.status_code == 400, page
    assert not Refund.objects.exists()


@pytest.mark.parametrize("day", ["tomorrow", "0001-01-01", "1924-02-28", "31-31-2026", "", "x"])
def test_a_payment_of_another_age_is_refused(
    console: Client, invoices: tuple[Invoice, Invoice], day: str
) -> None:
    today = clock.ist_date(clock.now())
    received = (today + dt.timedelta(days=1)).isoformat() if day == "tomorrow" else day
    answer = post(
        console, url(invoices[0], "record_payment"), amount="1.00", method="UPI",
        reference="UTR 1", received_on=received,
    )  # fmt: skip
    assert answer.status_code == 400
    assert not Payment.objects.exists()


def test_double_clicks_move_money_once(console: Client, invoices: tuple[Invoice, Invoice]) -> None:
    for page, body in pages(invoices):
        assert post(console, page, **body).status_code == 200
        after = moved()
        assert post(console, page, **body).status_code == 200, page
        assert moved() == after, page


def test_a_stale_page_records_nothing_but_its_own_payment_again(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    """Two clerks with one invoice open: the second sees that it was paid meanwhile."""
    first, _ = invoices
    page = url(first, "record_payment")
    asked = text(console.get(page))
    assert f'name="seen" value="{TOTAL}"' in asked
    body = {"amount": str(TOTAL), "method": "UPI", "received_on": START.isoformat()}
    mine = body | {"reference": "UTR 1", "seen": str(TOTAL)}
    assert post(console, page, **mine).status_code == 200
    late = post(console, page, **(body | {"reference": "UTR 2", "seen": str(TOTAL)}))
    assert late.status_code == 409
    assert "open it again" in text(late)
    assert "was recorded before" in text(post(console, page, **mine))
    refund = {"amount": "5", "method": "UPI", "reference": "R 1", "reason": "x"}
    late_refund = post(console, url(first, "refund"), **refund, seen=str(TOTAL))
    assert late_refund.status_code == 409
    assert Payment.objects.count() == 1
    assert not CreditNote.objects.exists()


def test_without_the_rights_no_page_moves_anything(
    console: Client, invoices: tuple[Invoice, Invoice]
) -> None:
    forms = pages(invoices)
    before = moved()
    console.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    for page, body in forms:
        assert post(console, page, **body).status_code == 403, page
        assert console.get(page).status_code == 403, page
    assert moved() == before
