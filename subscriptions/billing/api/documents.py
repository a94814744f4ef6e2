"""Documents over HTTP: PDF where all goes well, the API's JSON errors where not, whatever the
``Accept`` header says."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from partners import permissions
from quantleap.core.api.views import CustomerView, PartnerView
from subscriptions.billing import documents, selectors


def pdf_response(name: str, content: bytes) -> HttpResponse:
    """``name``.pdf as a download that no shared cache keeps."""
    return HttpResponse(
        content,
        content_type="application/pdf",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.pdf"',
            "Cache-Control": "private, no-cache",
        },
    )


class PartnerInvoicePdfView(PartnerView):
    """The document of an invoice of one of the partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.REVENUE_READ}

    @extend_schema(
        operation_id="partner_invoices_pdf",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, invoice_id: str) -> HttpResponse:
        """The invoice as PDF, always the same bytes."""
        me = self.partner
        invoice = selectors.get_invoice(me.partner_id, me.environment, invoice_id)
        return pdf_response(invoice.number, documents.invoice_pdf(invoice))


class UserInvoicePdfView(CustomerView):
    """The document of one of the customer's invoices."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.REVENUE_READ}
    open_when_suspended = frozenset({"GET"})

    @extend_schema(
        operation_id="user_invoices_pdf",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, invoice_id: str) -> HttpResponse:
        """The invoice as PDF, always the same bytes."""
        me = self.customer
        invoice = selectors.get_invoice(
            me.partner_id, me.environment, invoice_id, customer_id=me.customer_id
        )
        return pdf_response(invoice.number, documents.invoice_pdf(invoice))
