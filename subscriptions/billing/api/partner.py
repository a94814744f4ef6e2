"""``/partner/invoices``, ``payments``, ``revenue`` and ``commissions``."""

from __future__ import annotations

import datetime as dt
import re
from typing import ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, customer_filter
from quantleap.core import clock
from quantleap.core.api.pagination import (
    CURSOR,
    PAGE,
    PAGING,
    PER_PAGE,
    paginate,
    paginate_by_cursor,
)
from quantleap.core.api.views import PartnerView, QueryByMethod
from subscriptions.billing import reports
from subscriptions.billing.api import answers
from subscriptions.billing.api.serializers import (
    CommissionListAnswer,
    InvoiceAnswer,
    InvoiceListAnswer,
    PaymentListAnswer,
    RevenueAnswer,
)

READ: Final[dict[str, str]] = {"GET": permissions.REVENUE_READ}
_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


class InvoicesView(PartnerView):
    """Invoices of a partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = READ
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | CUSTOMER_QUERY}

    @extend_schema(
        operation_id="partner_invoices_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, PAGE, PER_PAGE],
        responses={200: InvoiceListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.partner
        found = reports.invoices(me.partner_id, me.environment).filter(**customer_filter(request))
        return answers.invoice_page(*paginate(request, found))


class InvoiceView(PartnerView):
    """One invoice."""

    permissions_by_method: ClassVar[dict[str, str]] = READ

    @extend_schema(operation_id="partner_invoices_retrieve", responses={200: InvoiceAnswer})
    def get(self, request: Request, invoice_id: str) -> Response:
        """With its payments and credit notes."""
        me = self.partner
        return answers.invoice(reports.invoice_history(me.partner_id, me.environment, invoice_id))


class PaymentsView(PartnerView):
    """What a partner's customers paid."""

    permissions_by_method: ClassVar[dict[str, str]] = READ
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | CUSTOMER_QUERY}

    @extend_schema(
        operation_id="partner_payments_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, PAGE, PER_PAGE],
        responses={200: PaymentListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.partner
        found = reports.payments(me.partner_id, me.environment).filter(**customer_filter(request))
        return answers.payment_page(*paginate(request, found))


class RevenueView(PartnerView):
    """A partner's month."""

    permissions_by_method: ClassVar[dict[str, str]] = READ
    query_by_method: ClassVar[QueryByMethod] = {"GET": frozenset({"month"})}

    @extend_schema(
        operation_id="partner_revenue",
        parameters=[OpenApiParameter("month", str, description="YYYY-MM; default: this month.")],
        responses={200: RevenueAnswer},
    )
    def get(self, request: Request) -> Response:
        """Subscribers, revenue, commission and top strategies of a month (IST)."""
        me = self.partner
        first = _month_of(request)
        report = reports.month_report(me.partner_id, me.environment, first)
        return Response(RevenueAnswer(answers.month(report, me.slug)).data)


def _month_of(request: Request) -> dt.date:
    running = reports.running_month(clock.now())
    text = request.query_params.get("month")
    if text is None:
        return running
    found = _MONTH.fullmatch(text)
    if found is None:
        raise ValidationError({"month": "Must be a month such as 2026-11."})
    first = dt.date(int(found[1]), int(found[2]), 1)
    if first > running:
        raise ValidationError({"month": "Not after this month (IST)."})
    return first


class CommissionsView(PartnerView):
    """What the partner earned."""

    permissions_by_method: ClassVar[dict[str, str]] = READ
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | {"cursor"}}

    @extend_schema(
        operation_id="partner_commissions_list",
        parameters=[CURSOR, PER_PAGE],
        responses={200: CommissionListAnswer},
    )
    def get(self, request: Request) -> Response:
        """Every row, newest first, with invoice, payment and entries."""
        me = self.partner
        found = reports.commissions(me.partner_id, me.environment)
        rows, cursor = paginate_by_cursor(request, found)
        answer = {
            "statusCode": 200,
            "commissions": [answers.commission_row(row) for row in rows],
            "next_cursor": cursor,
        }
        return Response(CommissionListAnswer(answer).data)
