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
    held = InvoiceDocument.objects.filter(invoice=invoice).values_list("pdf", flat=True)
    return _stored(held.first, lambda: _keep_invoice(invoice))


def credit_note_pdf(note: CreditNote) -> bytes:
    """The PDF of a credit note, stored in the same way."""
    held = CreditNoteDocument.objects.filter(credit_note=note).values_list("pdf", flat=True)
    return _stored(held.first, lambda: _keep_credit_note(note))


def _stored(read: Callable[[], bytes | memoryview | None], make: Callable[[], None]) -> bytes:
    found = read()
    if found is None:
        make()
        found = read()
    if found is None:
        raise RuntimeError("a document is gone that was just stored")
    return bytes(found)


def _keep_invoice(invoice: Invoice) -> None:
    owner = {"partner_id": invoice.partner_id, "environment": invoice.environment}
    made = _made(pdf.render_invoice(invoice.snapshot))
    insert_missing([InvoiceDocument(invoice=invoice, **owner, **made)], unique=("invoice",))


def _keep_credit_note(note: CreditNote) -> None:
    owner = {"partner_id": note.partner_id, "environment": note.environment}
    made = _made(pdf.render_credit_note(note.snapshot))
    insert_missing([CreditNoteDocument(credit_note=note, **owner, **made)], unique=("credit_note",))


def _made(document: bytes) -> dict[str, Any]:
    return {
        "pdf": document,
        "sha256": hashlib.sha256(document).hexdigest(),
        "renderer": pdf.renderer(),
    }
