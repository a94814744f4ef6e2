"""``…/invoices`` and ``…/payments`` for both audiences, ``/partner/revenue`` and ``commissions``.

A customer sees their own money, and never a commission.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, CustomerFilter
from partners.permissions import REVENUE_READ
from quantleap.core import clock
from quantleap.core.api.pagination import (
    CURSOR,
    PAGE,
    PAGING,
    PER_PAGE,
    paginate,
    paginate_by_cursor,
)
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, UserViewSet
from subscriptions.billing import reports, selectors
from subscriptions.billing.api import presenters
from subscriptions.billing.api.documents import pdf_response
from subscriptions.billing.api.serializers import (
    CommissionListAnswer,
    InvoiceAnswer,
    InvoiceListAnswer,
    PaymentListAnswer,
    RevenueAnswer,
)
from subscriptions.billing.invoicing import documents
from subscriptions.billing.models import Invoice, Payment

_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


class InvoiceViewSet(ApiViewSet):
    """Invoices: read only, they come from billing runs."""

    tag = "Invoices and payments"
    lookup_field = "public_id"
    lookup_url_kwarg = "invoice_id"

    def get_queryset(self) -> QuerySet[Invoice]:
        """The caller's invoices, newest first."""
        caller = self.caller
        return reports.invoices(
            caller.partner_id, caller.environment, customer_id=caller.customer_id
        )

    @extend_schema(
        summary="List invoices", parameters=[PAGE, PER_PAGE], responses={200: InvoiceListAnswer}
    )
    def list(self, request: Request) -> Response:
        """All of them, newest first."""
        return presenters.invoice_page(
            *paginate(request, self.filter_queryset(self.get_queryset()))
        )

    @extend_schema(summary="Get an invoice", responses={200: InvoiceAnswer})
    def retrieve(self, request: Request, invoice_id: str) -> Response:
        """With its payments and credit notes."""
        caller = self.caller
        return presenters.invoice(
            reports.invoice_history(
                caller.partner_id, caller.environment, invoice_id, customer_id=caller.customer_id
            )
        )

    @extend_schema(
        summary="Get an invoice as PDF",
        responses={(200, "application/pdf"): OpenApiTypes.BINARY},
    )
    @action(detail=True)
    def pdf(self, request: Request, invoice_id: str) -> HttpResponse:
        """The invoice as PDF, always the same bytes."""
        caller = self.caller
        invoice = selectors.get_invoice(
            caller.partner_id, caller.environment, invoice_id, customer_id=caller.customer_id
        )
        return pdf_response(invoice.number, documents.invoice_pdf(invoice))


@extend_schema_view(
    list=extend_schema(
        operation_id="partner_invoices_list", parameters=[USER_EMAIL, EXTERNAL_USER_ID]
    ),
    retrieve=extend_schema(operation_id="partner_invoices_retrieve"),
    pdf=extend_schema(operation_id="partner_invoices_pdf"),
)
class PartnerInvoiceViewSet(InvoiceViewSet, PartnerViewSet):
    """The invoices of a partner's customers."""

    filter_backends = (CustomerFilter,)
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=PAGING | CUSTOMER_QUERY),
        "retrieve": ActionRule(REVENUE_READ),
        "pdf": ActionRule(REVENUE_READ),
    }


@extend_schema_view(
    list=extend_schema(operation_id="user_invoices_list"),
    retrieve=extend_schema(operation_id="user_invoices_retrieve"),
    pdf=extend_schema(operation_id="user_invoices_pdf"),
)
class UserInvoiceViewSet(InvoiceViewSet, UserViewSet):
    """A customer's own invoices."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=PAGING, open_when_suspended=True),
        "retrieve": ActionRule(REVENUE_READ, open_when_suspended=True),
        "pdf": ActionRule(REVENUE_READ, open_when_suspended=True),
    }


class PaymentViewSet(ApiViewSet):
    """Payments: read only, staff record what came in."""

    tag = "Invoices and payments"

    def get_queryset(self) -> QuerySet[Payment]:
        """The caller's payments, newest first."""
        caller = self.caller
        return reports.payments(
            caller.partner_id, caller.environment, customer_id=caller.customer_id
        )

    @extend_schema(
        summary="List payments", parameters=[PAGE, PER_PAGE], responses={200: PaymentListAnswer}
    )
    def list(self, request: Request) -> Response:
        """All of them, newest first."""
        return presenters.payment_page(
            *paginate(request, self.filter_queryset(self.get_queryset()))
        )


@extend_schema_view(
    list=extend_schema(
        operation_id="partner_payments_list", parameters=[USER_EMAIL, EXTERNAL_USER_ID]
    )
)
class PartnerPaymentViewSet(PaymentViewSet, PartnerViewSet):
    """What a partner's customers paid."""

    filter_backends = (CustomerFilter,)
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=PAGING | CUSTOMER_QUERY)
    }


@extend_schema_view(list=extend_schema(operation_id="user_payments_list"))
class UserPaymentViewSet(PaymentViewSet, UserViewSet):
    """What a customer paid."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=PAGING, open_when_suspended=True)
    }


class PartnerRevenueViewSet(PartnerViewSet):
    """A partner's month. There is one report a month, so it is all of its list."""

    tag = "Revenue"
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=frozenset({"month"}))
    }

    @extend_schema(
        operation_id="partner_revenue",
        summary="Get the revenue of a month",
        parameters=[OpenApiParameter("month", str, description="YYYY-MM; default: this month.")],
        responses={200: RevenueAnswer},
    )
    def list(self, request: Request) -> Response:
        """Subscribers, revenue, commission and top strategies of a month (IST)."""
        partner = self.caller
        first = _month_of(request)
        report = reports.month_report(partner.partner_id, partner.environment, first)
        return Response(RevenueAnswer(presenters.month(report, partner.slug)).data)


def _month_of(request: Request) -> dt.date:
    running = reports.running_month(clock.now())
    text = request.query_params.get("month")
    if text is None:
        return running
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ValidationError({"month": "Must be a month such as 2026-11."})
    first = dt.date(int(match[1]), int(match[2]), 1)
    if first > running:
        raise ValidationError({"month": "Not after this month (IST)."})
    return first


class PartnerCommissionViewSet(PartnerViewSet):
    """What the partner earned."""

    tag = "Revenue"
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(REVENUE_READ, query=PAGING | {"cursor"})
    }

    @extend_schema(
        operation_id="partner_commissions_list",
        summary="List commissions",
        parameters=[CURSOR, PER_PAGE],
        responses={200: CommissionListAnswer},
    )
    def list(self, request: Request) -> Response:
        """Every row, newest first, with invoice, payment and entries."""
        partner = self.caller
        commissions = reports.commissions(partner.partner_id, partner.environment)
        rows, cursor = paginate_by_cursor(request, commissions)
        answer = {
            "statusCode": 200,
            "commissions": [presenters.commission_row(row) for row in rows],
            "next_cursor": cursor,
        }
        return Response(CommissionListAnswer(answer).data)
