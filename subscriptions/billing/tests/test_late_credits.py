"""After 30 November no credit note reduces output tax."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client
from pypdf import PdfReader

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import customer_client, make_partner
from quantleap.core.models import StaffUser
from quantleap.core.money import ZERO
from subscriptions.billing.invoicing import documents
from subscriptions.billing.ledger import chart_of_accounts, checks
from subscriptions.billing.models import CreditNote, Invoice, LedgerEntry
from subscriptions.billing.settlement import tax_deadline
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    bill,
    credit,
    follow,
    load_billing,
    noon,
    pay,
)

ISSUED, LATE = dt.date(2025, 4, 10), dt.date(2026, 12, 5)
LAST = dt.date(2026, 11, 30)
FEE, TOTAL, TAX = Decimal("999.00"), Decimal("1178.82"), Decimal("179.82")
TAXES = (chart_of_accounts.CGST, chart_of_accounts.SGST, chart_of_accounts.IGST)


@pytest.fixture
def partner(db: None) -> Partner:
    load_reference_data()
    load_billing()
    return make_partner()


def paid_invoice(partner: Partner, state: str = HOME) -> Invoice:
    """Of 10 April 2025, paid on its day."""
    (mine,) = follow(make_template(fee=999), partner, [ISSUED], state=state)
    bill(ISSUED)
    invoice = Invoice.objects.get(subscription=mine)
    assert (invoice.issued_on, invoice.total) == (ISSUED, TOTAL)
    pay(invoice, TOTAL)
    invoice.refresh_from_db()
    return invoice


def booked(note: CreditNote) -> dict[str, Decimal]:
    rows = LedgerEntry.objects.filter(transaction=note.transaction)
    return dict(rows.values_list("account__code", "amount"))


def words_of(document: bytes) -> str:
    pages = PdfReader(io.BytesIO(document)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def findings() -> set[str]:
    return {finding["what"] for finding in checks.check_ledger(now=noon(LATE)).findings}


@pytest.mark.parametrize("state", [HOME, AWAY])
def test_a_late_credit_note_reduced_output_tax(partner: Partner, state: str) -> None:
    """Seen: an invoice of 10 Apr 2025 was credited with tax on 5 Dec 2026, after the deadline."""
    invoice = paid_invoice(partner, state)
    credited = credit(invoice, TOTAL, day=LATE)
    note = credited.note
    assert (note.issued_on, note.total, note.taxable) == (LATE, TOTAL, FEE)
    assert (note.cgst, note.sgst, note.igst, note.tax_kept) == (ZERO, ZERO, ZERO, TAX)
    moved = booked(note)
    assert not set(moved) & set(TAXES)
    assert moved[chart_of_accounts.TAX_KEPT] == TAX
    # the customer gets all of it back, and the partner's share goes with it as ever
    assert credited.refund is not None
    assert credited.refund.amount == TOTAL
    invoice.refresh_from_db()
    assert (invoice.status, invoice.credited, invoice.credited_taxable) == ("CREDITED", TOTAL, FEE)
    assert findings() == set()

    shown = words_of(documents.credit_note_pdf(note))
    assert "FINANCIAL CREDIT NOTE" in shown
    assert "Financial credit without GST: issued after 30 Nov 2026" in shown
    assert "section 34(2) of the CGST Act" in shown
    assert "Credited without tax 1,178.82" in shown
    assert "179.82" not in shown
    (row,) = (
        customer_client(invoice.customer)
        .get(f"/user/invoices/{invoice.public_id}")
        .json()["invoice"]["credit_notes"]
    )
    assert (row["tax_kept"], row["cgst"], row["igst"], row["total"]) == (179.82, 0, 0, 1178.82)


@pytest.mark.parametrize("state", [HOME, AWAY])
def test_on_30_november_it_still_reduces_tax(partner: Partner, state: str) -> None:
    """The control, on the last day."""
    invoice = paid_invoice(partner, state)
    note = credit(invoice, TOTAL, day=LAST).note
    assert (note.tax_kept, note.cgst + note.sgst + note.igst) == (ZERO, TAX)
    assert sum(booked(note).get(code, ZERO) for code in TAXES) == TAX
    shown = words_of(documents.credit_note_pdf(note))
    assert "CREDIT NOTE" in shown
    assert "FINANCIAL" not in shown
    assert "179.82" in shown


@pytest.mark.parametrize("state", [HOME, AWAY])
def test_half_in_time_and_the_rest_too_late_add_up(partner: Partner, state: str) -> None:
    invoice = paid_invoice(partner, state)
    first = credit(invoice, Decimal("500.01"), key="first", day=LAST).note
    second = credit(invoice, Decimal("300.33"), key="second", day=LATE).note
    third = credit(invoice, TOTAL - Decimal("800.34"), key="third", day=LATE).note
    for note in (second, third):
        assert (note.cgst, note.igst) == (ZERO, ZERO)
        assert note.tax_kept > 0
    tax_back = first.cgst + first.sgst + first.igst
    assert tax_back + second.tax_kept + third.tax_kept == TAX
    assert first.taxable + second.taxable + third.taxable == FEE
    assert findings() == set()


def test_the_proof_finds_a_note_that_forgot_the_deadline(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = paid_invoice(partner)
    assert findings() == set()
    monkeypatch.setattr(tax_deadline, "credit_deadline", lambda day: dt.date.max)
    credit(invoice, TOTAL, day=LATE)
    assert findings() == {
        "credit note that reduces tax after 30 November following the invoice's financial year"
    }


@pytest.mark.parametrize(
    ("invoiced", "ends"),
    [
        (dt.date(2025, 3, 31), dt.date(2025, 11, 30)),
        (dt.date(2025, 4, 1), dt.date(2026, 11, 30)),
        (dt.date(2025, 12, 31), dt.date(2026, 11, 30)),
        (dt.date(2026, 3, 31), dt.date(2026, 11, 30)),
        (dt.date(2026, 4, 1), dt.date(2027, 11, 30)),
    ],
    ids=str,
)
def test_the_last_day_by_financial_year(invoiced: dt.date, ends: dt.date) -> None:
    assert tax_deadline.credit_deadline(invoiced) == ends


def test_the_refund_page_says_so_before(partner: Partner) -> None:
    invoice = paid_invoice(partner)
    staff = Client()
    staff.force_login(StaffUser.objects.create_superuser("asha"))
    url = f"/admin/billing/invoice/{invoice.pk}/refund/"
    said: dict[dt.date, Any] = {}
    for day in (LAST, LATE):
        with time_machine.travel(noon(day), tick=False):
            said[day] = "financial credit without GST" in staff.get(url).content.decode()
    assert said == {LAST: False, LATE: True}
