"""Invoices: to look at and to download; money changes through its own pages."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core import clock
from quantleap.core.admin import LargeTableMixin, ReadOnlyTabularInline, confirmed
from quantleap.core.audit import Actor
from subscriptions.billing import documents, payments, refunds
from subscriptions.billing.admin.documents import DocumentDownload
from subscriptions.billing.admin.forms import PaymentForm, RefundForm
from subscriptions.billing.models import Commission, CreditNote, Invoice, Payment


class PaymentInline(ReadOnlyTabularInline):
    """What came in for it."""

    model = Payment
    fields = ("public_id", "received_on", "method", "reference", "amount", "applied", "excess")
    readonly_fields = ("public_id",)


class CreditNoteInline(ReadOnlyTabularInline):
    """What was taken back of it."""

    model = CreditNote
    fields = ("number", "issued_on", "taxable", "cgst", "sgst", "igst", "total", "reason")


class CommissionInline(ReadOnlyTabularInline):
    """What it earned whom."""

    model = Commission
    fields = ("kind", "role", "base", "bps", "amount", "accrued_on", "matures_on", "matured_at")


@admin.register(Invoice)
class InvoiceAdmin(PartnerColumn, LargeTableMixin, DocumentDownload):
    """Read only; newest first."""

    list_display = (
        "number",
        "customer",
        "partner_name",
        "issued_on",
        "due_on",
        "total",
        "paid",
        "status",
        "needs_review",
    )
    list_filter = ("status", "needs_review", PartnerFilter, "environment")
    search_fields = ("=number", "=public_id", "=customer__email", "=subscription__public_id")
    list_select_related = ("customer",)
    ordering = ("-id",)
    fields = (
        ("number", "public_id", "status"),
        ("customer", "partner_name", "environment"),
        ("subscription", "segment_no", "period_no"),
        ("period_start", "period_end", "needs_review"),
        ("issued_on", "due_on", "place_of_supply"),
        ("taxable", "rate_pct", "sac"),
        ("cgst", "sgst", "igst"),
        ("total", "paid", "refunded"),
        ("credited", "credited_taxable", "recognised"),
        "outstanding",
        "created_at",
    )
    readonly_fields = ("public_id", "partner_name", "environment", "outstanding", "created_at")
    inlines = (PaymentInline, CreditNoteInline, CommissionInline)
    actions_detail = ("record_payment", "refund", "download_pdf")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        """Without the documents' text."""
        return super().get_queryset(request).defer("snapshot")

    @admin.display(description="Outstanding")
    def outstanding(self, invoice: Invoice) -> str:
        """Rupees still owed."""
        return str(_outstanding(invoice))

    # -- what staff may do -----------------------------------------------------------------------
    def what_a_payment_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        """Said before it happens."""
        return (
            f"{invoice.customer} owes {_outstanding(invoice)} of {invoice.total} rupees.",
            "What exceeds that becomes the customer's credit.",
            "Commission accrues on what is paid. A recorded payment cannot be changed any more.",
        )

    def what_a_refund_does(self, request: HttpRequest, invoice: Invoice) -> Sequence[str]:
        """Said before it happens."""
        return (
            f"A credit note is issued: of {invoice.number} up to "
            f"{invoice.total - invoice.credited} rupees, tax included.",
            f"Paid and not given back are {invoice.paid - invoice.refunded} rupees; what is then "
            "paid too much goes back to the customer.",
            "Commission is clawed back in proportion. None of it can be taken back.",
        )

    @confirmed(
        description="Record payment",
        explain="what_a_payment_does",
        permission="act",
        form=PaymentForm,
        icon="payments",
    )
    def record_payment(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Money that arrived for this invoice."""
        done = payments.record_payment(
            invoice_id=invoice.pk,
            idem_key=_key(invoice, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        paid = done.payment
        if not done.created:
            return f"{paid.reference} was recorded before: {paid.amount} rupees."
        over = f" {paid.excess} rupees are the customer's credit." if paid.excess else ""
        return f"{paid.applied} rupees are recorded for {invoice.number}.{over}"

    @confirmed(
        description="Refund",
        explain="what_a_refund_does",
        permission="act",
        form=RefundForm,
        icon="undo",
        danger=True,
        twice=True,
    )
    def refund(self, request: HttpRequest, invoice: Invoice, data: dict[str, Any]) -> str:
        """Credit note, money back, claw-back."""
        done = refunds.refund(
            invoice_id=invoice.pk,
            idem_key=_key(invoice, data),
            actor=Actor.staff(request.user),
            now=clock.now(),
            **data,
        )
        if not done.created:
            return f"{done.note.number} was issued before under this reference."
        back = done.refund.amount if done.refund else 0
        return f"{done.note.number} is issued over {done.note.total} rupees; {back} go back."

    def document(self, obj: Invoice) -> bytes:
        """Made on the first download, the same ever after."""
        return documents.invoice_pdf(obj)


def _outstanding(invoice: Invoice) -> Decimal:
    return invoice.total - invoice.paid + invoice.refunded - invoice.credited


def _key(invoice: Invoice, data: dict[str, Any]) -> str:
    """One movement of money has one reference, and may be for several invoices."""
    return f"{invoice.number}:{data['method']}:{data['reference'].strip()}"
