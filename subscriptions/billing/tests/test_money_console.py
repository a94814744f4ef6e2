"""The console's money: read-only everywhere, actions that ask first and happen once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from marketplace.tests.factories import make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import (
    BillingRun,
    Commission,
    CreditNote,
    Invoice,
    LedgerAccount,
    LedgerCheck,
    LedgerTransaction,
    Payment,
    Receipt,
    Refund,
)
from subscriptions.billing.tests.factories import START, bill, credit, follow, pay

PAGES = (
    Invoice, Receipt, Payment, CreditNote, Refund, Commission, LedgerAccount, LedgerTransaction,
    LedgerCheck, BillingRun,
)  # fmt: skip


def url(row: Any, page: str = "change") -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{page}", args=[row.pk])


def money(**fields: str) -> dict[str, str]:
    return {
        "confirm": "yes",
        "amount": "1178.82",
        "method": "UPI",
        "reference": "UTR 1",
        **fields,
    }


def test_a_payment_is_asked_for_and_recorded_once(console: Client, invoice: Invoice) -> None:
    page = url(invoice, "record_payment")
    asked = console.get(page)
    assert asked.status_code == 200
    assert "owes ₹1,178.82 of ₹1,178.82" in asked.content.decode()
    assert not Payment.objects.exists()
    body = money(received_on=START.isoformat())
    for words in ("₹1,178.82 are recorded", "UTR 1 was recorded before"):
        assert words in confirm(console, page, body, follow=True).content.decode()
    paid = Payment.objects.get()
    assert (paid.recorded_by, paid.received_on) == ("staff", START)
    assert Commission.objects.get().amount == Decimal("299.70")
    assert AuditEntry.objects.get(action="payment.recorded").actor_id == "staff"
    refused = confirm(console, page, body | {"amount": "5"})
    assert refused.status_code == 409
    (words,) = refused.context["form"].errors["reference"]
    assert f"UPI UTR 1 is receipt {paid.receipt}: ₹1,178.82 received on" in words


@pytest.mark.parametrize(
    "wrong", [{"amount": "0"}, {"amount": "1.001"}, {"method": "X"}, {"reference": ""}]
)
def test_a_wrong_form_records_nothing(
    console: Client, invoice: Invoice, wrong: dict[str, str]
) -> None:
    body = money(received_on=START.isoformat(), **wrong)
    assert confirm(console, url(invoice, "record_payment"), body).status_code == 400
    assert not Payment.objects.exists()


def test_a_refund_is_asked_for_twice(console: Client, invoice: Invoice) -> None:
    pay(invoice, invoice.total)
    page = url(invoice, "refund")
    body = money(reason="Cancelled", amount="500.00")
    assert "This cannot be undone" in confirm(console, page, body).content.decode()
    assert not CreditNote.objects.exists()
    done = confirm(console, page, body | {"again": "yes"}, follow=True).content.decode()
    assert "is issued over ₹500.00; ₹500.00 goes back" in done
    confirm(console, page, body | {"again": "yes"})
    assert CreditNote.objects.count() == Refund.objects.count() == 1
    refused = confirm(
        console, page, money(reason="All of it", reference="UTR 2", again="yes"), follow=True
    )
    assert refused.status_code == 400
    assert "₹678.82; ₹1,178.82 is more" in refused.content.decode()


def test_a_repeated_full_refund_was_called_too_much(console: Client, invoice: Invoice) -> None:
    """Seen: the first answer was lost, and the repeated refund was refused as too much."""
    pay(invoice, invoice.total)
    page = url(invoice, "refund")
    body = money(reason="Cancelled", again="yes")
    assert confirm(console, page, body).status_code == 302
    repeated = confirm(console, page, body, follow=True)
    assert "was issued before under this reference" in repeated.content.decode()
    other_sum = confirm(console, page, body | {"amount": "5.00"})
    assert other_sum.status_code == 409
    assert "already names" in other_sum.content.decode()
    assert confirm(console, page, body | {"reference": "UTR 2"}).status_code == 400
    assert CreditNote.objects.count() == Refund.objects.count() == 1


def test_excess_is_given_back(console: Client, invoice: Invoice) -> None:
    paid = pay(invoice, invoice.total + 100).payment
    page = url(paid, "return_excess")
    assert console.get(page).status_code == 200
    asked = confirm(console, page, money(amount="100.00")).content.decode()
    assert "This cannot be undone" in asked
    assert not Refund.objects.exists()
    confirm(console, page, money(amount="100.00", again="yes"))
    assert Refund.objects.get().amount == 100
    lost = confirm(console, page, money(amount="100.00", again="yes"), follow=True)
    assert f"are given back as {Refund.objects.get()}" in lost.content.decode()
    emptied = console.get(page).content.decode()
    assert "₹100.00 of this payment was too much; ₹0.00 of it has not been given back" in emptied
    more = money(amount="1.00", reference="UTR 2", again="yes")
    refused = confirm(console, page, more)
    assert refused.status_code == 400
    assert "given back of this payment is ₹0.00; ₹1.00 is more" in refused.content.decode()


def test_everything_is_to_look_at_only(console: Client, invoice: Invoice) -> None:
    pay(invoice, invoice.total)
    credit(invoice, Decimal("500.00"))
    checks.check_ledger(now=clock.now())
    for model in PAGES:
        name = f"admin:billing_{model._meta.model_name}"
        listed = console.get(reverse(f"{name}_changelist"))
        assert listed.status_code == 200, model
        row = model._default_manager.first()
        assert row is not None, model
        page = console.get(url(row))
        assert page.status_code == 200, model
        assert console.post(url(row), {"amount": "1"}).status_code == 403, model
        assert console.get(reverse(f"{name}_add")).status_code == 403, model
        assert console.post(url(row, "delete")).status_code == 403, model
    proof = console.get(url(LedgerCheck.objects.get())).content.decode()
    assert "Every check passed" in proof
    assert (
        "revshare_expense"
        in console.get(
            url(LedgerTransaction.objects.filter(kind="commission").get())
        ).content.decode()
    )


def test_a_proof_that_fails_says_what(console: Client) -> None:
    row = LedgerCheck.objects.create(
        ok=False, accounts=1, transactions=1, entries=2, invoices=0,
        findings=[{"what": "<b>wrong</b>", "count": 2, "examples": ["a", "b"]}],
    )  # fmt: skip
    page = console.get(url(row)).content.decode()
    assert "&lt;b&gt;wrong&lt;/b&gt;" in page
    assert "a; b" in page


def test_without_the_right_there_is_no_action(console: Client, invoice: Invoice) -> None:
    console.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    for page in ("record_payment", "refund"):
        assert confirm(console, url(invoice, page), money()).status_code == 403
    assert not Payment.objects.exists()


@pytest.mark.parametrize("model", PAGES)
def test_lists_take_as_many_queries_for_many(console: Client, invoice: Invoice, model: Any) -> None:
    path = reverse(f"admin:billing_{model._meta.model_name}_changelist")

    def fill() -> None:
        for unpaid in Invoice.objects.filter(status="DUE"):
            pay(unpaid, unpaid.total)
            credit(unpaid, Decimal("100.00"))

    def count() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert console.get(path).status_code == 200
        return len(seen)

    fill()
    console.get(path)
    few = count()
    follow(make_template(), make_partner(), [START] * 8)
    bill(START)
    fill()
    assert count() <= few
