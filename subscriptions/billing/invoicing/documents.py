"""Stored PDF documents: each is made once, on the first request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from quantleap.core.inserts import insert_missing
from subscriptions.billing.invoicing import pdf
from subscriptions.billing.models import CreditNote, CreditNoteDocument, Invoice, InvoiceDocument


def invoice_pdf(invoice: Invoice) -> bytes:
    """The stored PDF of an invoice, or a new one from its snapshot, which is then stored.

    Of two concurrent requests the first one's bytes are kept; both make the same bytes anyway.
    """
    stored = InvoiceDocument.objects.filter(invoice=invoice).values_list("pdf", flat=True)
    return _stored(stored.first, lambda: _keep_invoice(invoice))


def credit_note_pdf(note: CreditNote) -> bytes:
    """The PDF of a credit note, stored in the same way."""
    stored = CreditNoteDocument.objects.filter(credit_note=note).values_list("pdf", flat=True)
    return _stored(stored.first, lambda: _keep_credit_note(note))


def _stored(read: Callable[[], bytes | memoryview | None], make: Callable[[], None]) -> bytes:
    content = read()
    if content is None:
        make()
        content = read()
    if content is None:
        raise RuntimeError("a document is gone that was just stored")
    return bytes(content)


def _keep_invoice(invoice: Invoice) -> None:
    owner = {"partner_id": invoice.partner_id, "environment": invoice.environment}
    fields = _pdf_fields(pdf.render_invoice(invoice.snapshot))
    insert_missing([InvoiceDocument(invoice=invoice, **owner, **fields)], unique=("invoice",))


def _keep_credit_note(note: CreditNote) -> None:
    owner = {"partner_id": note.partner_id, "environment": note.environment}
    fields = _pdf_fields(pdf.render_credit_note(note.snapshot))
    insert_missing(
        [CreditNoteDocument(credit_note=note, **owner, **fields)], unique=("credit_note",)
    )


def _pdf_fields(document: bytes) -> dict[str, Any]:
    return {
        "pdf": document,
        "sha256": hashlib.sha256(document).hexdigest(),
        "renderer": pdf.renderer(),
    }
