"""Documents over HTTP: bytes where all goes well, the API's JSON errors where not."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from quantleap.core.api.views import CustomerView
from subscriptions.billing import documents, selectors


class WhateverIsAccepted(BaseContentNegotiation):
    """A document has one form: a client that accepts only PDF gets it, and errors in JSON."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The first, whatever the header says."""
        first = next(iter(renderers))
        return first, first.media_type or ""


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


class UserInvoicePdfView(CustomerView):
    """The document of one of the customer's invoices."""

    content_negotiation_class = WhateverIsAccepted

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
