"""``/partner/subscriptions/{id}/executions`` and ``/positions``."""

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
from quantleap.core.api.views import PartnerView, QueryByMethod
from subscriptions.selectors import find_subscription_id


class ExecutionsView(PartnerView):
    """What was traded."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | {"cursor"}}

    @extend_schema(
        operation_id="partner_subscriptions_executions",
        parameters=[CURSOR, PER_PAGE],
        responses={200: ExecutionListAnswer},
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """What was traded for a subscription, newest first, failures with their cause."""
        me = self.partner
        found = find_subscription_id(me.partner_id, me.environment, subscription_id)
        return answers.executions(request, found, subscription_id)


class PositionsView(PartnerView):
    """What is open."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}

    @extend_schema(
        operation_id="partner_subscriptions_positions", responses={200: PositionListAnswer}
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """What a subscription holds now, at the platform's last prices."""
        me = self.partner
        found = find_subscription_id(me.partner_id, me.environment, subscription_id)
        return answers.positions(found, subscription_id, clock.now())
