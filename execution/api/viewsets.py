"""``…/subscriptions/{id}/executions`` and ``positions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from execution.api import presenters
from execution.api.serializers import ExecutionListAnswer, PositionListAnswer
from partners.permissions import SUBSCRIPTIONS_READ
from quantleap.core import clock
from quantleap.core.api.pagination import CURSOR, PAGING, PER_PAGE
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, UserViewSet
from subscriptions.selectors import find_subscription_id


class TradingViewSet(ApiViewSet):
    """What is traded for a subscription. The subscription's other routes are the room below's."""

    tag = "Trading"
    lookup_field = "public_id"
    lookup_url_kwarg = "subscription_id"

    def _inner_id(self) -> int:
        """Of the caller's subscription that the path names; NotFound."""
        caller = self.caller
        return find_subscription_id(
            caller.partner_id,
            caller.environment,
            self.kwargs["subscription_id"],
            customer_id=caller.customer_id,
        )

    @extend_schema(
        summary="List a subscription's executions",
        parameters=[CURSOR, PER_PAGE],
        responses={200: ExecutionListAnswer},
    )
    @action(detail=True)
    def executions(self, request: Request, subscription_id: str) -> Response:
        """What was traded for a subscription, newest first, failures with their cause."""
        return presenters.executions(request, self._inner_id(), subscription_id)

    @extend_schema(
        summary="List a subscription's open positions", responses={200: PositionListAnswer}
    )
    @action(detail=True)
    def positions(self, request: Request, subscription_id: str) -> Response:
        """What a subscription holds now, at the platform's last prices."""
        return presenters.positions(self._inner_id(), subscription_id, clock.now())


@extend_schema_view(
    executions=extend_schema(operation_id="partner_subscriptions_executions"),
    positions=extend_schema(operation_id="partner_subscriptions_positions"),
)
class PartnerTradingViewSet(TradingViewSet, PartnerViewSet):
    """For the subscriptions of a partner's customers."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "executions": ActionRule(SUBSCRIPTIONS_READ, query=PAGING | {"cursor"}),
        "positions": ActionRule(SUBSCRIPTIONS_READ),
    }


@extend_schema_view(
    executions=extend_schema(operation_id="user_subscriptions_executions"),
    positions=extend_schema(operation_id="user_subscriptions_positions"),
)
class UserTradingViewSet(TradingViewSet, UserViewSet):
    """For a customer's own subscriptions."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "executions": ActionRule(
            SUBSCRIPTIONS_READ, query=PAGING | {"cursor"}, open_when_suspended=True
        ),
        "positions": ActionRule(SUBSCRIPTIONS_READ, open_when_suspended=True),
    }
