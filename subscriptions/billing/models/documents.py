"""Stored documents, and the mails that carry them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from quantleap.core import clock
from quantleap.core.models import QueuedMail
from quantleap.core.tenancy import TenantOwned, TenantQuerySet
from subscriptions.billing.models.invoices import Invoice
from subscriptions.billing.models.payments import CreditNote


class StoredDocument(TenantOwned):
    """A PDF, made once. ``renderer`` can make the same bytes again from its snapshot."""

    pdf = models.BinaryField()
    sha256 = models.CharField(max_length=64, help_text="Of the PDF, hexadecimal.")
    renderer = models.CharField(max_length=80, help_text="Program and template that made it.")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ("-id",)


class InvoiceDocument(StoredDocument):
    """The PDF of an invoice. The database refuses a second one, and every change."""

    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="documents", db_index=False
    )

    class Meta(StoredDocument.Meta):
        constraints = (
            models.UniqueConstraint(fields=["invoice"], name="invoice_document_uniq"),
            models.CheckConstraint(
                condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="invoice_document_sha256_format"
            ),
        )

    def __str__(self) -> str:
        return self.sha256


class CreditNoteDocument(StoredDocument):
    """The PDF of a credit note. The database refuses a second one, and every change."""

    credit_note = models.ForeignKey(
        CreditNote, on_delete=models.PROTECT, related_name="documents", db_index=False
    )

    class Meta(StoredDocument.Meta):
        constraints = (
            models.UniqueConstraint(fields=["credit_note"], name="credit_note_document_uniq"),
            models.CheckConstraint(
                condition=Q(sha256__regex=r"^[0-9a-f]{64}$"),
                name="credit_note_document_sha256_format",
            ),
        )

    def __str__(self) -> str:
        return self.sha256


class InvoiceMail(QueuedMail, TenantOwned):
    """The mail that brings an invoice to its customer, one per invoice; times UTC."""

    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="mails", db_index=False
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=["invoice"], name="invoice_mail_uniq"),
            models.CheckConstraint(
                condition=Q(status="SENT", sent_at__isnull=False)
                | (~Q(status="SENT") & Q(sent_at__isnull=True)),
                name="invoice_mail_sent_has_time",
            ),
        )
        indexes = (
            # the sending task's queue
            models.Index(
                fields=["next_attempt_at", "id"],
                condition=Q(status="PENDING"),
                name="invoice_mail_due_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.invoice_id} {self.status}"
