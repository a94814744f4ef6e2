"""Money in the console: the figure that was confirmed is the figure that moves."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from quantleap.core.tests.confirming import confirm, seal_of
from subscriptions.billing.models import CreditNote, CustomerCredit, Invoice, Payment, Refund
from subscriptions.billing.tests.factories import START, pay

TOTAL = Decimal("1178.82")
MONEY = {"method": "UPI", "reference": "UTR 1"}
REFUND = {**MONEY, "reason": "Cancelled"}


def url(row: Any, page: str) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{page}", args=[row.pk])


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_a_refund_above_the_invoice_is_refused_at_once(console: Client, invoice: Invoice) -> None:
    """The form says how much can be credited, and no page asks for a confirmation."""
    pay(invoice, invoice.total)
    answer = confirm(console, url(invoice, "refund"), {**REFUND, "amount": "5000.00"})
    assert answer.status_code == 400
    assert "cannot be undone" not in text(answer)
    assert answer.context["form"].errors["amount"] == [
        f"What can be credited of {invoice.number} is ₹1,178.82; ₹5,000.00 is more."
    ]
    assert 'value="5000.00"' in text(answer), "what was typed is kept"
    crumbs = confirm(console, url(invoice, "refund"), {**REFUND, "amount": "1178.81"})
    assert "Refund all of ₹1,178.82, or an amount that is at least ₹1.00 and leaves" in text(crumbs)


@pytest.mark.parametrize("page", ["refund", "return_excess", "pay_out"])
def test_another_figure_than_the_confirmed_one_asks_again(
    console: Client, invoice: Invoice, page: str
) -> None:
    paid = pay(invoice, invoice.total + 500).payment
    row = {
        "refund": invoice,
        "return_excess": paid,
        "pay_out": CustomerCredit.objects.filter(code__startswith="customer_credit").first(),
    }[page]
    address = url(row, page)
    body = REFUND if page == "refund" else MONEY
    asked = confirm(console, address, {**body, "amount": "100.00"})
    assert "cannot be undone" in text(asked)
    assert "100.00</dd>" in text(asked), "the exact figure is shown, and is no field"
    assert 'type="number"' not in text(asked)
    once = {"confirm": "yes", "again": "yes", **body, "seal": seal_of(asked)}
    other = console.post(address, {**once, "amount": "400.00"})
    assert other.status_code == 409
    assert "not the figures you were asked about" in text(other)
    assert "400.00</dd>" in text(other)
    assert not CreditNote.objects.exists()
    assert not Refund.objects.exists()
    done = console.post(address, {**once, "amount": "400.00", "seal": seal_of(other)})
    assert done.status_code == 302
    assert Refund.objects.get().amount == 400


def test_a_second_page_said_figures_that_had_changed(console: Client, invoice: Invoice) -> None:
    """Seen: after a colleague's payment the page said only that the figures were not the same."""
    address = url(invoice, "refund")
    body = {"confirm": "yes", **REFUND, "amount": "100.00", "seen": "1178.82"}
    asked = confirm(console, address, body)
    pay(invoice, Decimal("178.82"))
    late = console.post(address, {**body, "again": "yes", "seal": seal_of(asked)})
    assert late.status_code == 409
    assert "has changed since you opened it" in text(late)
    assert "not the figures you were asked about" not in text(late)
    assert "Paid and not given back are ₹178.82" in text(late)
    assert not CreditNote.objects.exists()
    seen = re.findall(r'name="seen" value="(.*?)"', text(late))
    assert seen == ["1000.00"], "the sum that was read is the sum that is confirmed"
    again = {**body, "again": "yes", "seen": seen[0], "seal": seal_of(late)}
    assert console.post(address, again).status_code == 302
    assert CreditNote.objects.get().total == 100


def test_a_second_answer_without_a_first_question_moves_nothing(
    console: Client, invoice: Invoice
) -> None:
    pay(invoice, invoice.total)
    for seal in ("", "made:up:seal"):
        straight = {"confirm": "yes", "again": "yes", **REFUND, "amount": "100.00", "seal": seal}
        assert console.post(url(invoice, "refund"), straight).status_code == 409
    assert not CreditNote.objects.exists()


def test_change_leads_back_to_what_was_typed(console: Client, invoice: Invoice) -> None:
    address = url(invoice, "refund")
    asked = confirm(console, address, {**REFUND, "amount": "100.00"})
    body = {"confirm": "yes", "again": "yes", **REFUND, "amount": "100.00"}
    reopened = console.post(address, {**body, "seal": seal_of(asked), "change": ""})
    assert reopened.status_code == 200
    assert 'type="number"' in text(reopened)
    assert 'value="100.00"' in text(reopened)
    assert not CreditNote.objects.exists()


def test_a_payment_is_asked_about_again_after_another_one(
    console: Client, invoice: Invoice
) -> None:
    """Somebody else paid in between: the page answers 409 and shows what is still owed."""
    address = url(invoice, "record_payment")
    opened = console.get(address)
    pay(invoice, Decimal("178.82"))
    body = {"confirm": "yes", **MONEY, "amount": "1178.82", "received_on": START.isoformat()}
    body["seen"] = "1178.82"
    late = console.post(address, {**body, "seal": seal_of(opened)})
    assert late.status_code == 409
    assert "has changed since you opened it" in text(late)
    assert "owes ₹1,000.00 of ₹1,178.82" in text(late)
    assert Payment.objects.count() == 1
    (seen,) = re.findall(r'name="seen" value="(.*?)"', text(late))
    body |= {"seen": seen, "seal": seal_of(late)}
    assert console.post(address, body).status_code == 302
    assert Payment.objects.count() == 2


def test_more_credit_than_there_is_is_refused_beside_the_field(
    console: Client, invoice: Invoice
) -> None:
    answer = confirm(console, url(invoice, "use_credit"), {"amount": "5.00", "seen": str(TOTAL)})
    assert answer.status_code == 400
    assert "is ₹0.00; ₹5.00 is more" in answer.context["form"].errors["amount"][0]


def test_a_wrong_date_stands_beside_its_field(console: Client, invoice: Invoice) -> None:
    body = {**MONEY, "amount": "1.00", "received_on": "2099-01-01"}
    answer = confirm(console, url(invoice, "record_payment"), body)
    assert answer.status_code == 400
    assert answer.context["form"].errors["received_on"] == ["Not after today (IST)."]
    assert answer.context["errors"] == []
