"""Documents are stored once, served to their owner only, and downloaded in the console."""

from __future__ import annotations

import hashlib
import threading

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse
from rest_framework.test import APIClient

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import customer_client, make_customer, make_partner
from quantleap.core.tenancy import Environment
from subscriptions.billing.invoicing import pdf
from subscriptions.billing.invoicing.documents import credit_note_pdf, invoice_pdf
from subscriptions.billing.models import (
    CreditNote,
    CreditNoteDocument,
    Invoice,
    InvoiceDocument,
)
from subscriptions.billing.tests.clerk import staff
from subscriptions.billing.tests.factories import (
    AWAY,
    HOME,
    START,
    bill,
    credit,
    follow,
    load_billing,
    pay,
)
from subscriptions.billing.tests.pdftext import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def partner() -> Partner:
    load_billing()
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def invoice(partner: Partner) -> Invoice:
    return issued(partner)


def issued(partner: Partner, state: str = HOME) -> Invoice:
    follow(make_template(name="Nifty Iron Condor"), partner, [START], state=state)
    bill(START)
    return Invoice.objects.latest("id")


def url(invoice: Invoice) -> str:
    return f"/user/invoices/{invoice.public_id}/pdf"


# -- stored once ---------------------------------------------------------------------------------
def test_the_document_is_made_once_and_can_be_made_again(invoice: Invoice) -> None:
    first = invoice_pdf(invoice)
    assert first.startswith(b"%PDF-")
    assert invoice_pdf(Invoice.objects.get()) == first
    document = InvoiceDocument.objects.get()
    assert document.sha256 == hashlib.sha256(first).hexdigest()
    assert (document.partner_id, document.environment) == (invoice.partner_id, "live")
    assert document.renderer == pdf.renderer()
    # what the run stored in SQL is all it takes
    assert pdf.render_invoice(Invoice.objects.get().snapshot) == first


@pytest.mark.parametrize(("state", "tax"), [(HOME, "CGST at 9 % 89.91"), (AWAY, "IGST at 18 %")])
def test_the_runs_own_snapshot_makes_a_whole_document(
    partner: Partner, state: str, tax: str
) -> None:
    invoice = issued(partner, state)
    shown = text(invoice_pdf(invoice))
    for field in (
        invoice.number,
        invoice.customer.name,
        invoice.customer.public_id,
        invoice.subscription.public_id,
        "Nifty Iron Condor, monthly subscription Period: 31 Jan 2026 to 27 Feb 2026",
        "Invoice date 31 Jan 2026",
        "Due date 7 Feb 2026",
        f"(code {state})",
        tax,
        "Total payable ₹ 1,178.82",
    ):
        assert field in shown


def test_what_changes_later_is_not_on_the_document(invoice: Invoice) -> None:
    before = pdf.render_invoice(invoice.snapshot)
    invoice.customer.name = "Somebody Else"
    invoice.customer.state = AWAY
    invoice.customer.save()
    invoice.subscription.template.name = "Another name"
    invoice.subscription.template.save()
    pay(invoice, invoice.total)
    assert invoice_pdf(Invoice.objects.get()) == before


def test_a_credit_note_has_its_own_document(invoice: Invoice) -> None:
    pay(invoice, invoice.total)
    invoice.refresh_from_db()
    credit(invoice, invoice.total)
    note = CreditNote.objects.get()
    document = credit_note_pdf(note)
    assert credit_note_pdf(note) == document == pdf.render_credit_note(note.snapshot)
    assert CreditNoteDocument.objects.get().sha256 == hashlib.sha256(document).hexdigest()
    shown = text(document)
    for field in ("CREDIT NOTE", note.number, f"Against invoice {invoice.number}", note.reason):
        assert field in shown


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_invoicedocument SET pdf = 'x'",
        "DELETE FROM billing_invoicedocument",
        "INSERT INTO billing_invoicedocument (environment, invoice_id, pdf, sha256, renderer,"
        " created_at) SELECT environment, invoice_id, pdf, sha256, renderer, created_at"
        " FROM billing_invoicedocument",
    ],
)
def test_the_database_keeps_a_document_as_it_is(invoice: Invoice, statement: str) -> None:
    document = invoice_pdf(invoice)
    with (
        pytest.raises(DatabaseError, match=r"append-only|denied|invoice_document_uniq"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert invoice_pdf(invoice) == document


@pytest.mark.django_db(transaction=True)
def test_wanted_by_many_at_once_it_is_stored_once() -> None:
    load_billing()
    load_reference_data()
    invoice = issued(make_partner())
    together = threading.Barrier(4)
    fetched: list[bytes] = []

    def fetch() -> None:
        try:
            together.wait()
            fetched.append(invoice_pdf(Invoice.objects.get(pk=invoice.pk)))
        finally:
            connection.close()

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 4
    assert set(fetched) == {bytes(InvoiceDocument.objects.get().pdf)}


# -- over HTTP -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "accept", ["application/pdf", "application/json", "*/*", "", "application/octet-stream"]
)
def test_a_customer_downloads_his_invoice(invoice: Invoice, accept: str) -> None:
    answer = customer_client(invoice.customer).get(url(invoice), headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == f'attachment; filename="{invoice.number}.pdf"'
    assert "private" in answer["Cache-Control"]
    assert answer.content == invoice_pdf(invoice)


def test_nobody_else_sees_that_it_exists(invoice: Invoice, partner: Partner) -> None:
    others = [
        make_customer(partner),
        make_customer(partner, invoice.customer.email, Environment.TEST),
        make_customer(make_partner(), invoice.customer.email),
    ]
    for other in others:
        answer = customer_client(other).get(url(invoice), headers={"Accept": "application/pdf"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert not InvoiceDocument.objects.exists()


@pytest.mark.parametrize("unknown", ["inv_unknown", "1", "%00", "QL26-00000001"])
def test_unknown_invoice(invoice: Invoice, unknown: str) -> None:
    answer = customer_client(invoice.customer).get(f"/user/invoices/{unknown}/pdf")
    assert answer.status_code == 404


def test_a_token_is_needed(invoice: Invoice) -> None:
    assert APIClient().get(url(invoice)).status_code == 401
    assert customer_client(invoice.customer).get(url(invoice) + "?colour=1").status_code == 400


# -- in the console ------------------------------------------------------------------------------


def test_staff_download_from_the_invoices_page(invoice: Invoice) -> None:
    console = staff("view_invoice")
    page = console.get(reverse("admin:billing_invoice_change", args=[invoice.pk]))
    link = reverse("admin:billing_invoice_download_pdf", args=[invoice.pk])
    assert page.status_code == 200
    assert link in page.content.decode()
    answer = console.get(link)
    assert answer["Content-Type"] == "application/pdf"
    assert answer.content == invoice_pdf(invoice)
    assert console.get(reverse("admin:billing_invoice_changelist")).status_code == 200


def test_without_the_permission_there_is_no_download(invoice: Invoice) -> None:
    link = reverse("admin:billing_invoice_download_pdf", args=[invoice.pk])
    assert staff("view_supplier").get(link).status_code == 403
    assert not InvoiceDocument.objects.exists()
