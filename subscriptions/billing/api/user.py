"""``/user/invoices`` and ``/user/payments``: a customer's own money, never a commission."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from quantleap.core.api.pagination import PAGE, PAGING, PER_PAGE, paginate
from quantleap.core.api.views import CustomerView, QueryByMethod
from subscriptions.billing import reports
from subscriptions.billing.api import answers
from subscriptions.billing.api.serializers import (
    InvoiceAnswer,
    InvoiceListAnswer,
    PaymentListAnswer,
)


class InvoicesView(CustomerView):
    """All invoices of the customer."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.REVENUE_READ}
    open_when_suspended = frozenset({"GET"})
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING}

    @extend_schema(
        operation_id="user_invoices_list",
        parameters=[PAGE, PER_PAGE],
        responses={200: InvoiceListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.customer
        found = reports.invoices(me.partner_id, me.environment, customer_id=me.customer_id)
        return answers.invoice_page(*paginate(request, found))


class InvoiceView(CustomerView):
    """One invoice."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.REVENUE_READ}
    open_when_suspended = frozenset({"GET"})

    @extend_schema(operation_id="user_invoices_retrieve", responses={200: InvoiceAnswer})
    def get(self, request: Request, invoice_id: str) -> Response:
        """With its payments and credit notes."""
        me = self.customer
        found = reports.invoice_history(
            me.partner_id, me.environment, invoice_id, customer_id=me.customer_id
        )
        return answers.invoice(found)


class PaymentsView(CustomerView):
    """All payments of the customer."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.REVENUE_READ}
    open_when_suspended = frozenset({"GET"})
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING}

    @extend_schema(
        operation_id="user_payments_list",
        parameters=[PAGE, PER_PAGE],
        responses={200: PaymentListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me = self.customer
        found = reports.payments(me.partner_id, me.environment, customer_id=me.customer_id)
        return answers.payment_page(*paginate(request, found))
