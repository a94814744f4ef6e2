"""Documents over HTTP: bytes where all goes well, the API's JSON errors where not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from partners import permissions
from quantleap.core.api.views import CustomerView, PartnerView
from subscriptions.billing import documents, selectors


class _Pdf(BaseRenderer):
    """Only what may be asked for: the views answer with the bytes themselves."""

    media_type = "application/pdf"
    format = "pdf"


class DocumentNegotiation(DefaultContentNegotiation):
    """PDF for those who accept PDF, JSON or anything, errors in JSON for all of them; else 406."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The API's own, once the header is found to allow a document."""
        known = list(renderers)
        super().select_renderer(request, [*known, _Pdf()], format_suffix)
        return known[0], known[0].media_type or ""


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
    content_negotiation_class = DocumentNegotiation

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

    content_negotiation_class = DocumentNegotiation

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
