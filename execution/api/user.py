"""``/user/subscriptions/{id}/executions`` and ``/positions``: a customer's own."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api import answers
from execution.api.serializers import ExecutionListAnswer, PositionListAnswer
from partners import permissions
from quantleap.core import clock
from quantleap.core.api.pagination import CURSOR, PAGING, PER_PAGE
from quantleap.core.api.principal import CustomerPrincipal
from quantleap.core.api.views import CustomerView, QueryByMethod
from subscriptions.selectors import find_subscription_id


def _mine(me: CustomerPrincipal, subscription_id: str) -> int:
    return find_subscription_id(
        me.partner_id, me.environment, subscription_id, customer_id=me.customer_id
    )


class ExecutionsView(CustomerView):
    """What was traded."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    open_when_suspended = frozenset({"GET"})
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | {"cursor"}}

    @extend_schema(
        operation_id="user_subscriptions_executions",
        parameters=[CURSOR, PER_PAGE],
        responses={200: ExecutionListAnswer},
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """What was traded for one's subscription, newest first, failures with their cause."""
        return answers.executions(request, _mine(self.customer, subscription_id), subscription_id)


class PositionsView(CustomerView):
    """What is open."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    open_when_suspended = frozenset({"GET"})

    @extend_schema(operation_id="user_subscriptions_positions", responses={200: PositionListAnswer})
    def get(self, request: Request, subscription_id: str) -> Response:
        """What one holds now, at the platform's last prices."""
        found = _mine(self.customer, subscription_id)
        return answers.positions(found, subscription_id, clock.now())
