"""``/partner/invoices``, ``/partner/revenue``, ``/partner/commissions`` (api.md section 11)."""

from __future__ import annotations

import datetime as dt
import re
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from quantleap.core import clock
from quantleap.core.api.pagination import CURSOR, paginate, paginate_by_cursor
from quantleap.core.api.views import PartnerView
from subscriptions.billing import reports
from subscriptions.billing.api import answers
from subscriptions.billing.api.serializers import (
    CommissionListAnswer,
    InvoiceListAnswer,
    RevenueAnswer,
)

READ: dict[str, str] = {"GET": permissions.REVENUE_READ}
_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


class InvoicesView(PartnerView):
    """Invoices of a partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = READ

    @extend_schema(operation_id="partner_invoices_list", responses={200: InvoiceListAnswer})
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.partner
        rows, pagination = paginate(request, reports.invoices(me.partner_id, me.environment))
        answer = {
            "statusCode": 200,
            "invoices": [answers.invoice_row(row) for row in rows],
            "pagination": pagination,
        }
        return Response(InvoiceListAnswer(answer).data)


class RevenueView(PartnerView):
    """A partner's month."""

    permissions_by_method: ClassVar[dict[str, str]] = READ
    allowed_query = frozenset({"month"})

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
    allowed_query = frozenset({"cursor"})

    @extend_schema(
        operation_id="partner_commissions_list",
        parameters=[CURSOR],
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
