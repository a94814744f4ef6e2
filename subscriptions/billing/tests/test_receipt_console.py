"""Receipts in the console: one form over all that a customer owes, and what a bank took back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse

from marketplace.tests.factories import make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm, seal_of
from subscriptions.billing.models import CustomerCredit, Invoice, Payment, Receipt, Reversal
from subscriptions.billing.settlement import customer_credit
from subscriptions.billing.tests.factories import START, bill, bounce, follow, pay, receive
from subscriptions.periods import add_months

TOTAL = Decimal("1178.82")
NEXT = add_months(START, 1)
MONEY = {"method": "UPI", "reference": "UTR 6123", "received_on": NEXT.isoformat()}


def url(row: Any, page: str = "change") -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{page}", args=[row.pk])


def text(answer: Any) -> str:
    return str(answer.content.decode())


@pytest.fixture
def months(console: Client) -> tuple[Invoice, Invoice]:
    """Two months' invoices of one customer."""
    follow(make_template(), make_partner("zebu"), [START])
    bill(START)
    bill(NEXT)
    first, second = Invoice.objects.order_by("id")
    return first, second


def test_one_transfer_for_two_invoices_is_one_act(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    first, second = months
    page = url(second, "record_receipt")
    asked = text(console.get(page))
    assert "owes ₹2,357.64 on 2 invoices" in asked
    assert asked.index(f"For {first.number}") < asked.index(f"For {second.number}"), "oldest first"
    assert "Owes ₹1,178.82, due" in asked
    body = {**MONEY, "amount": "2500.00"}
    once = confirm(console, page, body)
    figures = dict(once.context["figures"])
    assert figures[f"For {first.number}"] == figures[f"For {second.number}"] == "₹1,178.82"
    assert figures[f"Credit of {first.customer}"] == "₹142.36"
    assert figures["Rupees"] == "₹2,500.00"
    assert not Receipt.objects.exists()
    done = confirm(console, page, {**body, "again": "yes"}, follow=True)
    receipt = Receipt.objects.get()
    assert f"₹2,500.00 are recorded as {receipt}, for 2 invoices. ₹142.36 are" in text(done)
    assert [invoice.status for invoice in Invoice.objects.all()] == ["PAID", "PAID"]
    assert customer_credit.available(first.customer) == Decimal("142.36")
    assert AuditEntry.objects.get(action="receipt.recorded").actor_id == "staff"


def test_what_each_invoice_gets_can_be_said(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    """The page asks again if the amounts are not those that it showed."""
    first, second = months
    page = url(first, "record_receipt")
    body = {**MONEY, "amount": "700.00", f"invoice_{second.pk}": "700.00"}
    asked = confirm(console, page, body)
    assert f"For {first.number}" not in dict(asked.context["figures"])
    other = {
        "confirm": "yes", "again": "yes", **body, f"invoice_{second.pk}": "600.00",
        "seal": seal_of(asked),
    }  # fmt: skip
    assert "not the figures you were asked about" in text(console.post(page, other))
    assert not Receipt.objects.exists()
    confirm(console, page, {**body, "again": "yes"})
    assert [invoice.paid for invoice in Invoice.objects.order_by("id")] == [0, 700]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"reference": "--"}, "reference", "no letter and no digit"),
        ({"reference": "utr६"}, "reference", "Letters A to Z"),
        ({"method": "CHEQUE", "reference": "123"}, "reference", "Six digits"),
        ({"received_on": "2099-01-01"}, "received_on", "Not after today"),
        ({"amount": "0"}, "amount", "greater than or equal to 0.01"),
        ({"first": "1178.83"}, "first", "₹1,178.82; ₹1,178.83 is more"),
        ({"first": "600", "second": "600"}, "amount", "The invoices get ₹1,200.00; only ₹1,000.00"),
    ],
    ids=["no letters", "another script", "cheque", "tomorrow", "nothing", "too much", "too little"],
)
def test_what_is_wrong_stands_beside_its_field(
    console: Client, months: tuple[Invoice, Invoice], change: dict[str, str], field: str, words: str
) -> None:
    """The form keeps what was typed, and no receipt is recorded."""
    names = {"first": f"invoice_{months[0].pk}", "second": f"invoice_{months[1].pk}"}
    typed = {**MONEY, "amount": "1000.00", "note": "by phone"} | {
        names.get(name, name): value for name, value in change.items()
    }
    answer = confirm(console, url(months[0], "record_receipt"), typed)
    if field == "received_on":  # known to the service
        answer = confirm(console, url(months[0], "record_receipt"), {**typed, "again": "yes"})
    assert answer.status_code == 400
    assert words in answer.context["form"].errors[names.get(field, field)][0]
    assert 'value="by phone"' in text(answer)
    assert not Receipt.objects.exists()


def test_one_utr_paid_invoices_of_other_customers_in_the_console(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    """The clerk is told whose money it is, beside the reference, and keeps what was typed."""
    first, _ = months
    follow(make_template(), make_partner("kotak"), [NEXT])
    bill(NEXT)
    other = Invoice.objects.latest("id")
    confirm(console, url(first, "record_payment"), {**MONEY, "amount": "1178.82"})
    for page in ("record_payment", "record_receipt"):
        body = {**MONEY, "reference": "utr-6123", "amount": "1178.82"}
        refused = confirm(console, url(other, page), body)
        assert refused.status_code in (400, 409), page
        (words,) = refused.context["form"].errors["reference"]
        assert "₹1,178.82 received on 28 Feb 2026" in words, page
        assert f"recorded by staff on {clock.ist_date(clock.now()).day} " in words
        assert f"for {first.number}." in words
        assert 'value="utr-6123"' in text(refused), page
    assert Payment.objects.count() == 1
    assert Invoice.objects.get(pk=other.pk).status == "DUE"


def test_a_bounced_cheque_is_reversed_after_two_questions(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    first, second = months
    receipt = receive({first: TOTAL, second: TOTAL}, amount=TOTAL * 2 + 10, day=NEXT)
    page = url(receipt, "reverse")
    asked = text(console.get(page))
    assert f"{first.number} is owed again by ₹1,178.82." in asked
    assert "Commission of ₹599.40 is taken back" in asked
    assert "No credit note is issued, and no tax changes" in asked
    body = {
        "reversed_on": clock.ist_date(clock.now()).isoformat(),
        "reason": "Funds insufficient",
        "bank_charges": "118.00",
    }
    once = confirm(console, page, body)
    assert "This cannot be undone" in text(once)
    assert dict(once.context["figures"])["Bank charges"] == "₹118.00"
    assert not Reversal.objects.exists()
    done = text(confirm(console, page, {**body, "again": "yes"}, follow=True))
    assert f"{receipt} is reversed as {Reversal.objects.get()}: ₹2,357.64 are owed again" in done
    assert [invoice.status for invoice in Invoice.objects.all()] == ["DUE", "DUE"]
    assert AuditEntry.objects.get(action="receipt.reversed").actor_id == "staff"
    shown = text(console.get(url(receipt)))
    assert "Funds insufficient" in shown
    assert page not in shown, "not reversed twice"
    of_invoice = text(console.get(url(first)))
    assert "after a reversal" in of_invoice
    assert "Went back at a bank" in of_invoice


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"reversed_on": "2026-02-27"}, "reversed_on"),
        ({"reversed_on": "2099-01-01"}, "reversed_on"),
        ({"reason": ""}, "reason"),
        ({"bank_charges": "-1"}, "bank_charges"),
    ],
    ids=["before it came", "in the future", "no reason", "negative"],
)
def test_a_reversal_that_cannot_be(
    console: Client, months: tuple[Invoice, Invoice], change: dict[str, str], field: str
) -> None:
    receipt = receive({months[0]: TOTAL}, day=NEXT)
    body = {"reversed_on": NEXT.isoformat(), "reason": "Bounced", "bank_charges": "0"}
    answer = confirm(console, url(receipt, "reverse"), {**body, **change})
    assert answer.status_code == 400
    assert field in answer.context["form"].errors
    assert not Reversal.objects.exists()


def test_paid_out_credit_that_is_owed_is_shown_by_name(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    first, _ = months
    paid = pay(first, TOTAL + 500, day=NEXT).payment
    row = CustomerCredit.objects.get(code__startswith="customer_credit:")
    confirm(
        console, url(row, "pay_out"),
        {"amount": "400.00", "method": "UPI", "reference": "back", "again": "yes"},
    )  # fmt: skip
    assert paid.receipt is not None
    asked = text(console.get(url(paid.receipt, "reverse")))
    assert "of which ₹400.00 are gone" in asked
    with connection.cursor() as cursor:  # the paying out is judged by itself, as at its commit
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    bounce(paid.receipt, clock.ist_date(clock.now()))
    assert "₹400.00 owed to us: paid out of a receipt that was reversed" in text(
        console.get(url(row))
    )
    listed = reverse("admin:billing_customercredit_changelist")
    assert first.customer.email in text(console.get(f"{listed}?balance=debt"))
    assert first.customer.email not in text(console.get(f"{listed}?balance=credit"))


def test_receipts_are_found_by_any_spelling_of_their_reference(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    first, second = months
    receipt = receive({first: TOTAL}, reference="UTR 6123", day=NEXT)
    bounced = receive({second: TOTAL}, reference="HDFC-77", day=NEXT)
    bounce(bounced, NEXT + dt.timedelta(days=1))
    listed = reverse("admin:billing_receipt_changelist")

    def search(query: str) -> list[str]:
        return [str(row) for row in console.get(f"{listed}?{query}").context["cl"].result_list]

    for typed in ("utr6123", "UTR-61", "utr 6123", receipt.public_id, first.number):
        assert search(f"q={typed}") == [str(receipt)], typed
    assert search("q=--") == []
    assert search("state=reversed") == [str(bounced)]
    assert search("state=credit") == search("state=doubt") == []
    assert len(search(f"q={first.customer.email}")) == 2


def test_whoever_records_receipts_does_not_reverse_them(
    console: Client, months: tuple[Invoice, Invoice]
) -> None:
    receipt = receive({months[0]: TOTAL}, day=NEXT)
    clerk = StaffUser.objects.create_user("clerk", is_staff=True)
    rights = ("view_receipt", "view_invoice", "add_payment")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=rights))
    console.force_login(clerk)
    assert console.get(url(months[1], "record_receipt")).status_code == 200
    assert console.get(url(receipt, "reverse")).status_code == 403
    assert url(receipt, "reverse") not in text(console.get(url(receipt)))
