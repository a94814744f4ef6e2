"""``/marketplace/subscribe/{template_id}`` and ``/user/subscriptions...``: never a commission."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.models import Customer
from partners.selectors import customers
from quantleap.core import clock
from quantleap.core.api.pagination import PAGING, paginate
from quantleap.core.api.principal import CustomerPrincipal
from quantleap.core.api.views import CustomerView, QueryByMethod
from quantleap.core.errors import NotFound
from subscriptions import services
from subscriptions.api import answers, requests
from subscriptions.api.partner import OPEN_POSITIONS, REASON, STATUS, TEMPLATE_ID
from subscriptions.api.serializers import (
    AllocationListAnswer,
    TransitionRequest,
    UserCreatedAnswer,
    UserDetailAnswer,
    UserListAnswer,
    UserSubscribeRequest,
    UserSubscriptionObject,
    UserTransitionAnswer,
)
from subscriptions.billing.owing import with_owing
from subscriptions.models import Subscription
from subscriptions.selectors import (
    find_subscription_id,
    get_subscription,
    open_template,
    subscriptions,
)


def load(principal: CustomerPrincipal, subscription_id: str) -> Subscription:
    """The customer's own subscription; NotFound."""
    return get_subscription(
        principal.partner_id,
        principal.environment,
        subscription_id,
        customer_id=principal.customer_id,
    )


def _inner_id(principal: CustomerPrincipal, subscription_id: str) -> int:
    return find_subscription_id(
        principal.partner_id,
        principal.environment,
        subscription_id,
        customer_id=principal.customer_id,
    )


def _self(principal: CustomerPrincipal) -> Customer:
    customer = customers([principal.customer_id]).get(principal.customer_id)
    if customer is None:
        raise NotFound
    return customer


class SubscribeView(CustomerView):
    """Subscribing oneself."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.MARKETPLACE_SUBSCRIBE}

    @extend_schema(
        operation_id="marketplace_subscribe",
        request=UserSubscribeRequest,
        responses={201: UserCreatedAnswer},
    )
    def post(self, request: Request, template_id: str) -> Response:
        """Subscribe with one's own account."""
        me, now = self.customer, clock.now()
        # 404 comes before 400
        open_template(template_id, me.partner_id, me.environment, clock.ist_date(now))
        data = self.validated(UserSubscribeRequest, request)
        made = services.subscribe(
            partner_id=me.partner_id,
            environment=me.environment,
            template_id=template_id,
            customer_id=_self(me).pk,
            key_id=me.key_id,
            actor=me.actor,
            now=now,
            **requests.subscribe_arguments(request, data),
        )
        subscription = load(me, made.public_id)
        return answers.created(_shown(subscription, now), subscription)


class SubscriptionsView(CustomerView):
    """All of the customer's subscriptions."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    open_when_suspended = frozenset({"GET"})
    query_by_method: ClassVar[QueryByMethod] = {"GET": PAGING | requests.LIST_QUERY}

    @extend_schema(
        operation_id="user_subscriptions_list",
        parameters=[TEMPLATE_ID, STATUS],
        responses={200: UserListAnswer},
    )
    def get(self, request: Request) -> Response:
        """List, newest first."""
        me, now = self.customer, clock.now()
        mine = subscriptions(me.partner_id, me.environment, customer_id=me.customer_id)
        found = with_owing(mine).filter(**requests.list_filters(request))
        rows, pagination = paginate(request, found)
        answer = {
            "statusCode": 200,
            "subscriptions": [answers.user_row(row, now) for row in rows],
            "pagination": pagination,
        }
        return Response(UserListAnswer(answer).data)


class SubscriptionView(CustomerView):
    """One subscription."""

    permissions_by_method: ClassVar[dict[str, str]] = {
        "GET": permissions.SUBSCRIPTIONS_READ,
        "DELETE": permissions.SUBSCRIPTIONS_WRITE,
    }
    open_when_suspended = frozenset({"GET", "DELETE"})
    query_by_method: ClassVar[QueryByMethod] = {"DELETE": requests.CANCEL_QUERY}

    @extend_schema(operation_id="user_subscriptions_retrieve", responses={200: UserDetailAnswer})
    def get(self, request: Request, subscription_id: str) -> Response:
        """With accounts, last executions, and figures to date."""
        me, now = self.customer, clock.now()
        subscription = load(me, subscription_id)
        shown = _shown(subscription, now)
        return answers.detail(shown, subscription, clock.ist_date(now), with_revenue=False)

    @extend_schema(
        operation_id="user_subscriptions_cancel",
        parameters=[OPEN_POSITIONS, REASON],
        responses={200: UserTransitionAnswer},
    )
    def delete(self, request: Request, subscription_id: str) -> Response:
        """Cancel for good."""
        me, now = self.customer, clock.now()
        inner = _inner_id(me, subscription_id)
        result = services.cancel(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.USER,
            now=now,
            **requests.cancel_of(request),
        )
        return _transitioned(me, result, "Subscription cancelled", now)


class PauseView(CustomerView):
    """Pausing."""

    permissions_by_method: ClassVar[dict[str, str]] = {"PUT": permissions.SUBSCRIPTIONS_WRITE}
    open_when_suspended = frozenset({"PUT"})

    @extend_schema(
        operation_id="user_subscriptions_pause",
        request=TransitionRequest,
        responses={200: UserTransitionAnswer},
    )
    def put(self, request: Request, subscription_id: str) -> Response:
        """No new entry until resumed."""
        me, now = self.customer, clock.now()
        inner = _inner_id(me, subscription_id)
        result = services.pause(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.USER,
            now=now,
            **requests.transition_of(request),
        )
        return _transitioned(me, result, "Subscription paused", now)


class ResumeView(CustomerView):
    """Resuming."""

    permissions_by_method: ClassVar[dict[str, str]] = {"PUT": permissions.SUBSCRIPTIONS_WRITE}

    @extend_schema(
        operation_id="user_subscriptions_resume",
        request=TransitionRequest,
        responses={200: UserTransitionAnswer},
    )
    def put(self, request: Request, subscription_id: str) -> Response:
        """Enter again; a pause by the partner is lifted with a reason."""
        me, now = self.customer, clock.now()
        inner = _inner_id(me, subscription_id)
        result = services.resume(
            subscription_id=inner,
            actor=me.actor,
            reason=Subscription.Reason.USER,
            now=now,
            **requests.resume_of(request),
        )
        return _transitioned(me, result, answers.RESUMED, now)


class AllocationsView(CustomerView):
    """The broker accounts of a subscription."""

    permissions_by_method: ClassVar[dict[str, str]] = {"GET": permissions.SUBSCRIPTIONS_READ}
    open_when_suspended = frozenset({"GET"})

    @extend_schema(
        operation_id="user_subscriptions_allocations", responses={200: AllocationListAnswer}
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        """By priority."""
        return answers.allocations(load(self.customer, subscription_id), clock.now())


def _shown(subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
    row = answers.user_row(subscription, now)
    return dict(UserSubscriptionObject(row).data)


def _transitioned(
    principal: CustomerPrincipal,
    result: services.TransitionResult,
    message: str,
    now: dt.datetime,
) -> Response:
    subscription = load(principal, result.subscription.public_id)
    return answers.transitioned(_shown(subscription, now), result, message)
