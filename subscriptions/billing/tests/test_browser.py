"""The pages of money in a real browser: a payment from click to books, and how all of them look."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.console import page_of
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.browser import fits, logged_in, shoot
from subscriptions.billing.invoicing import documents, invoice_mails
from subscriptions.billing.ledger import checks, revenue_recognition
from subscriptions.billing.models import (
    BillingRun,
    BillingSegment,
    Commission,
    CreditNote,
    Invoice,
    InvoiceMail,
    LedgerAccount,
    LedgerCheck,
    LedgerTransaction,
    NumberSeries,
    Payment,
    Receipt,
    Refund,
    Supplier,
    TaxRate,
)
from subscriptions.billing.settlement import commission_maturity, reversals
from subscriptions.billing.tests.factories import AWAY, bill, credit, follow, load_billing, pay

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """Somebody of finance, logged in; any message on the console fails the test."""
    with logged_in(
        "finance", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


@pytest.fixture
def invoice() -> Invoice:
    """The newest invoice of two months' business: due, paid, overpaid, credited, to be reviewed."""
    load_billing()
    load_reference_data()
    zebu = make_partner("zebu")
    condor = make_template(name="NIFTY iron condor")
    straddle = make_template(name="BANKNIFTY straddle for patient people", fee=124_999)
    today = clock.ist_date(clock.now())
    month_ago = today - dt.timedelta(days=33)
    follow(condor, zebu, [month_ago] * 3)
    follow(straddle, zebu, [month_ago], state=AWAY, fee=124_999)
    bill(month_ago)
    first, second, *_, large = Invoice.objects.order_by("id")
    pay(first, first.total, day=month_ago)
    pay(second, second.total + 100, day=month_ago)
    pay(large, Decimal("100000.00"), day=month_ago)
    credit(first, Decimal("500.00"), day=month_ago + dt.timedelta(days=2))
    revenue_recognition.recognise(today - dt.timedelta(days=1), now=clock.now())
    commission_maturity.mature(today, now=clock.now())
    follow(condor, None, [month_ago - dt.timedelta(days=40)], state="")
    follow(condor, zebu, [today])
    bill(today)
    invoice_mails.queue_mails(list(OutboxEvent.objects.filter(type="invoice.issued")), clock.now())
    checks.check_ledger(now=clock.now())
    return Invoice.objects.order_by("-id")[0]


def list_of(model: Any) -> str:
    return reverse(f"admin:billing_{model._meta.model_name}_changelist")


def test_a_payment_from_the_invoice_to_the_books(page: Page, invoice: Invoice) -> None:
    page.goto(list_of(Invoice))
    page.get_by_role("link", name=invoice.number, exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert download.value.suggested_filename == f"{invoice.number}.pdf"
    assert Path(download.value.path()).read_bytes() == documents.invoice_pdf(invoice)

    page.get_by_role("link", name="Record payment").click()
    expect(page.get_by_text("owes ₹1,178.82 of ₹1,178.82")).to_be_visible()
    shoot(page, "ask-payment")
    page.fill("[name=amount]", "1178.82")
    page.select_option("[name=method]", "UPI")
    page.fill("[name=reference]", "UTR 4711")
    page.get_by_role("button", name="Record payment").click()
    expect(page.get_by_text(f"₹1,178.82 are recorded for {invoice.number}.")).to_be_visible()
    shoot(page, "paid")

    payment = Payment.objects.get(reference="UTR 4711")
    page.get_by_role("link", name=payment.public_id).click()
    commission = Commission.objects.get(payment=payment)
    page.get_by_role("link", name=commission.public_id).click()
    expect(page.get_by_text("₹299.70").first).to_be_visible()
    page.get_by_role("link", name=commission.transaction.idem_key).click()
    expect(page.get_by_role("link", name="partner_payable_pending:zebu")).to_be_visible()
    page.get_by_role("link", name="revshare_expense").click()
    expect(page.get_by_role("link", name=commission.transaction.idem_key)).to_be_visible()


def test_a_refund_is_asked_for_twice(page: Page, invoice: Invoice) -> None:
    pay(invoice, invoice.total)
    page.goto(page_of(invoice))
    refund = reverse("admin:billing_invoice_refund", args=[invoice.pk])
    page.locator(f'a[href="{refund}"]').click()
    expect(page.get_by_text("Commission is clawed back in proportion")).to_be_visible()
    page.fill("[name=amount]", "500.00")
    page.fill("[name=reference]", "UTR 4712")
    page.fill("[name=reason]", "Cancelled within the week")
    shoot(page, "ask-refund")
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_text("This cannot be undone")).to_be_visible()
    assert CreditNote.objects.filter(invoice=invoice).count() == 0
    shoot(page, "ask-refund-again")
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_text("is issued over ₹500.00; ₹500.00 goes back.")).to_be_visible()
    note = CreditNote.objects.get(invoice=invoice)
    shoot(page, "refunded")
    page.get_by_role("link", name=note.number).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert Path(download.value.path()).read_bytes() == documents.credit_note_pdf(note)


def test_a_transfer_for_two_invoices_that_the_bank_recalls(page: Page, invoice: Invoice) -> None:
    """Recorded in one act over all that the customer owes, reversed in another."""
    owing = Invoice.objects.filter(status="PARTLY_PAID").earliest("id")
    page.goto(page_of(owing))
    page.get_by_role("link", name="Record receipt").click()
    page.fill("[name=amount]", "5000000.00")
    page.fill("[name=reference]", "UTR 6123")
    page.get_by_role("button", name="Record receipt").click()
    expect(page.get_by_text(f"Credit of {owing.customer}")).to_be_visible()
    shoot(page, "ask-receipt-again")
    page.get_by_role("button", name="Record receipt").click()
    receipt = Receipt.objects.get(reference="UTR 6123")
    expect(page.get_by_text(f"are recorded as {receipt}")).to_be_visible()
    page.goto(list_of(Receipt) + "?q=utr-6123")
    page.locator("#result_list th a").first.click()
    page.get_by_role("link", name="Reverse").click()
    expect(page.get_by_text("No credit note is issued")).to_be_visible()
    page.fill("[name=reason]", "Recalled by the payer")
    page.fill("[name=bank_charges]", "118.00")
    shoot(page, "ask-reversal")
    page.get_by_role("button", name="Reverse").click()
    expect(page.get_by_text("This cannot be undone")).to_be_visible()
    shoot(page, "ask-reversal-again")
    page.get_by_role("button", name="Reverse").click()
    expect(page.get_by_text("are owed again")).to_be_visible()
    shoot(page, "reversed")
    assert Invoice.objects.get(pk=owing.pk).paid == owing.paid


@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_every_page_fits(page: Page, invoice: Invoice, look: str) -> None:
    if look == "narrow":
        page.set_viewport_size({"width": 390, "height": 844})
    if look == "dark":
        page.emulate_media(color_scheme="dark")
    (clawback,) = Commission.objects.filter(kind="CLAWBACK")
    bounced = Payment.objects.get(excess__gt=0)
    assert bounced.receipt is not None
    reversals.reverse(
        receipt_id=bounced.receipt.pk, reversed_on=bounced.received_on, reason="Funds insufficient",
        bank_charges=Decimal(118), actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    rows: dict[str, Any] = {
        "invoice": clawback.invoice,
        "payment": clawback.payment,
        "receipt": clawback.payment.receipt,
        "receipt-reversed": bounced.receipt,
        "payment-reversed": bounced,
        "invoice-reversed": bounced.invoice,
        "creditnote": clawback.credit_note,
        "refund": Refund.objects.all()[0],
        "commission": clawback,
        "account": LedgerAccount.objects.get(code="deferred_revenue"),
        "transaction": clawback.transaction,
        "proof": LedgerCheck.objects.all()[0],
        "run": BillingRun.objects.all()[0],
        "mail": InvoiceMail.objects.all()[0],
    }
    lists = (
        Invoice, Receipt, Payment, CreditNote, Refund, Commission, LedgerAccount, LedgerTransaction,
        LedgerCheck, BillingRun, BillingSegment, InvoiceMail, TaxRate, Supplier, NumberSeries,
    )  # fmt: skip
    pages = {f"{model._meta.model_name}-list": list_of(model) for model in lists}
    pages |= {name: page_of(row) for name, row in rows.items()}
    pages |= {"today": reverse("admin:index")}
    pages["ask-receipt"] = reverse(
        "admin:billing_invoice_record_receipt", args=[bounced.invoice.pk]
    )
    several = ",".join(Invoice.objects.filter(status="DUE").values_list("number", flat=True)[:3])
    pages["joint-choose"] = reverse("admin:billing_receipt_record_joint")
    pages["joint-parts"] = f"{pages['joint-choose']}?invoices={several}"
    receipt_id = clawback.payment.receipt_id
    pages["ask-reverse"] = reverse("admin:billing_receipt_reverse", args=[receipt_id])
    pages |= {"overdue": f"{list_of(Invoice)}?outstanding=overdue"}
    pages |= {"no-invoice": f"{list_of(Invoice)}?q=nothing-like-it"}
    for name, url in pages.items():
        page.goto(url)
        shoot(page, f"{look}-{name}")
        assert fits(page), name
