"""Invoices: to look at and to download; money changes through its own pages."""

from __future__ import annotations

from django.contrib import admin

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core.admin import LargeTableMixin
from subscriptions.billing import documents
from subscriptions.billing.admin.documents import DocumentDownload
from subscriptions.billing.models import Invoice


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
        "created_at",
    )
    readonly_fields = ("public_id", "partner_name", "environment", "created_at")

    def document(self, obj: Invoice) -> bytes:
        """Made on the first download, the same ever after."""
        return documents.invoice_pdf(obj)
