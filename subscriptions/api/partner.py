"""``/partner/marketplace/subscribe`` and ``/partner/subscriptions...``."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, customer_filter
from partners.api.serializers import differs
from quantleap.core import clock
from quantleap.core.api.pagination import PAGING, paginate
from quantleap.core.api.principal import PartnerPrincipal
from quantleap.core.api.views import PartnerView, QueryByMethod
from subscriptions import services
from subscriptions.api import answers, requests
from subscriptions.api.serializers import (
    AllocationListAnswer,
    PartnerCreatedAnswer,
    PartnerDetailAnswer,
    PartnerListAnswer,
    PartnerSubscribeRequest,
    PartnerSubscriptionObject,
    PartnerTransitionAnswer,
    TransitionRequest,
)
from subscriptions.billing.owing import with_owing
from subscriptions.models import Subscription
from subscriptions.selectors import find_subscription_id, get_subscription, subscriptions

TEMPLATE_ID: Final = OpenApiParameter("template_id", str)
STATUS: Final = OpenApiParameter("status", str, enum=Subscription.Status.values)
OPEN_POSITIONS: Final = OpenApiParameter(
    "open_positions", str, enum=[choice.value for choice in services.OpenPositions]
)
REASON: Final = OpenApiParameter("reason", str, description="Why, in words.")


def load(principal: PartnerPrincipal, subscription_id: str) -> Subscription:
    """The partner's subscription; NotFound."""
    return get_subscription(principal.partner_id, principal.environment, subscription_id)


class SubscribeView(PartnerView):
    """Subscribing a customer."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.MARKETPLACE_SUBSCRIBE}

    @extend_schema(
        operation_id="partner_marketplace_subscribe",
        request=PartnerSubscribeRequest,
        responses={201: PartnerCreatedAnswer},
    )
    def post(self, request: Request) -> Response:
        """Subscribe a customer, found or created by id or e-mail."""
        data = self.validated(PartnerSubscribeRequest, request)
        me, now = self.partner, clock.now()
        made = services.subscribe(
            partner_id=me.partner_id,
            environment=me.environment,
            template_id=data["template_id"],
            user_email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            user_name=data.get("user_name", ""),
            key_id=me.key_id,
            actor=me.actor,
            now=now,
            **requests.subscribe_arguments(request, data),
        )
        subscription = load(me, made.public_id)
        return answers.created(
            _shown(me, subscription, now),
            subscription,
            email_differs=differs(data, subscription.customer.email),
        )


class SubscriptionsView(PartnerView):
    """All subscriptions of a partner's customers."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    query_by_method: ClassVar[QueryByMethod] = {
        "GET": PAGING | requests.LIST_QUERY | CUSTOMER_QUERY
    }

    @extend_schema(
        operation_id="partner_subscriptions_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID, TEMPLATE_ID, STATUS],
        responses={200: PartnerListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me, now = self.partner, clock.now()
        found = with_owing(subscriptions(me.partner_id, me.environment)).filter(
            **customer_filter(request), **requests.list_filters(request)
        )
        rows, pagination = paginate(request, found)
        answer = {
            "statusCode": 200,
            "subscriptions": [answers.partner_row(row, me.slug, now) for row in rows],
            "pagination": pagination,
        }
        return Response(PartnerListAnswer(answer).data)


class SubscriptionView(PartnerView):
    """One subscription."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.SUBSCRIPTIONS_READ,
        "DELETE": permissions.SUBSCRIPTIONS_WRITE,
    }
    open_when_suspended = frozenset({"DELETE"})
    query_by_method: ClassVar[QueryByMethod] = {"DELETE": requests.CANCEL_QUERY}

    @extend_schema(
        operation_id="partner_subscriptions_retrieve", responses={200: PartnerDetailAnswer}
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """With accounts, last executions, and figures to date."""
        me, now = self.partner, clock.now()
        subscription = load(me, subscription_id)
        shown = _shown(me, subscription, now)
        return answers.detail(shown, subscription, clock.ist_date(now), with_revenue=True)

    @extend_schema(
        operation_id="partner_subscriptions_cancel",
        parameters=[OPEN_POSITIONS, REASON],
        responses={200: PartnerTransitionAnswer},
    )
    def delete(self, request: Request, subscription_id: str) -> Response:
        """Cancel for good."""
        me, now = self.partner, clock.now()
        inner = find_subscription_id(me.partner_id, me.environment, subscription_id)
        result = services.cancel(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.PARTNER,
            now=now,
            **requests.cancel_of(request),
        )
        return _transitioned(me, result, "Subscription cancelled", now)


class PauseView(PartnerView):
    """Pausing."""

    permissions_by_method: ClassVar[dict[str, str]] = {"PUT": permissions.SUBSCRIPTIONS_WRITE}
    open_when_suspended = frozenset({"PUT"})

    @extend_schema(
        operation_id="partner_subscriptions_pause",
        request=TransitionRequest,
        responses={200: PartnerTransitionAnswer},
    )
    def put(self, request: Request, subscription_id: str) -> Response:
        """No new entry until resumed."""
        me, now = self.partner, clock.now()
        inner = find_subscription_id(me.partner_id, me.environment, subscription_id)
        result = services.pause(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.PARTNER,
            now=now,
            **requests.transition_of(request),
        )
        return _transitioned(me, result, "Subscription paused", now)


class ResumeView(PartnerView):
    """Resuming."""

    permissions_by_method: ClassVar[dict[str, str]] = {"PUT": permissions.SUBSCRIPTIONS_WRITE}

    @extend_schema(
        operation_id="partner_subscriptions_resume",
        request=TransitionRequest,
        responses={200: PartnerTransitionAnswer},
    )
    def put(self, request: Request, subscription_id: str) -> Response:
        """Enter again; a pause by the customer is lifted with a reason."""
        me, now = self.partner, clock.now()
        inner = find_subscription_id(me.partner_id, me.environment, subscription_id)
        result = services.resume(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.PARTNER,
            now=now,
            **requests.resume_of(request),
        )
        return _transitioned(me, result, answers.RESUMED, now)


class AllocationsView(PartnerView):
    """The broker accounts of a subscription."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}

    @extend_schema(
        operation_id="partner_subscriptions_allocations", responses={200: AllocationListAnswer}
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """By priority."""
        return answers.allocations(load(self.partner, subscription_id), clock.now())


def _shown(
    principal: PartnerPrincipal, subscription: Subscription, now: dt.datetime
) -> dict[str, Any]:
    row = answers.partner_row(subscription, principal.slug, now)
    return dict(PartnerSubscriptionObject(row).data)


def _transitioned(
    principal: PartnerPrincipal,
    result: services.TransitionResult,
    message: str,
    now: dt.datetime,
) -> Response:
    subscription = load(principal, result.subscription.public_id)
    return answers.transitioned(_shown(principal, subscription, now), result, message)
