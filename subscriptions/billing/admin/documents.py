"""Pages of documents and of the mails that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse

from partners.admin.common import PartnerColumn, PartnerFilter
from quantleap.core.admin import QueuedMailAdmin, ReadOnlyAdmin, action, display
from quantleap.core.admin_columns import linked
from quantleap.core.large_lists import through
from subscriptions.billing.admin.searches import customers_invoice_keys, invoice_keys
from subscriptions.billing.api.documents import pdf_response
from subscriptions.billing.invoicing import invoice_mails
from subscriptions.billing.models import InvoiceMail


class DocumentDownload(ReadOnlyAdmin):
    """A page whose object has a PDF, which subclasses make."""

    actions_detail: Sequence[str] = ("download_pdf",)

    def document(self, obj: Any) -> bytes:
        """The PDF of ``obj``, which has a ``number``."""
        raise NotImplementedError

    @action(description="PDF", url_path="pdf", permissions=["view"], icon="download")
    def download_pdf(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the stored document."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        return pdf_response(obj.number, self.document(obj))


@admin.register(InvoiceMail)
class InvoiceMailAdmin(PartnerColumn, QueuedMailAdmin):
    """Mails of invoices, with the reason for those that were not sent."""

    queue = invoice_mails.QUEUE
    compressed_fields = False
    list_display = (
        "created_at",
        linked("invoice"),
        "partner_name",
        "standing",
        "attempts",
        "sent_at",
        "next_attempt_at",
        "last_error",
    )
    list_filter = ("status", PartnerFilter, "environment")
    searches = (
        through("invoice_id", invoice_keys, "the beginning or the digits of an invoice's number"),
        through("invoice_id", customers_invoice_keys, "a customer's e-mail, name or id"),
    )
    ordering = ("-id",)
    fields = (
        ("invoice", "partner_name", "environment"),
        ("status", "attempts", "sent_at"),
        ("next_attempt_at", "claimed_until", "created_at"),
        "last_error",
    )
    readonly_fields = ("partner_name", "environment", "created_at")

    @display(
        description="Status",
        ordering="status",
        label={"Pending": "info", "Sent": "success", "Failed": "danger"},
    )
    def standing(self, mail: InvoiceMail) -> str:
        return str(mail.get_status_display())

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceMail]:
        """Fetch the invoice's number without its document."""
        return super().get_queryset(request).select_related("invoice").defer("invoice__snapshot")

    def what_sending_does(self, request: HttpRequest, mail: InvoiceMail) -> Sequence[str]:
        """The consequences, shown before sending."""
        return (f"The customer gets the mail with invoice {mail.invoice.number} once more.",)
