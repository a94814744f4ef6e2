"""``…/marketplace/subscribe`` and ``…/subscriptions``: a customer never sees a commission."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.queries import CUSTOMER_QUERY, EXTERNAL_USER_ID, USER_EMAIL, CustomerFilter
from partners.api.serializers import differs
from partners.permissions import MARKETPLACE_SUBSCRIBE, SUBSCRIPTIONS_READ, SUBSCRIPTIONS_WRITE
from partners.selectors import get_customer_by_id
from quantleap.core import clock
from quantleap.core.api.pagination import PAGING, paginate
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, UserViewSet
from subscriptions import services
from subscriptions.api import parsing, presenters
from subscriptions.api.serializers import (
    AllocationListAnswer,
    PartnerCreatedAnswer,
    PartnerDetailAnswer,
    PartnerListAnswer,
    PartnerSubscribeRequest,
    PartnerSubscriptionObject,
    PartnerTransitionAnswer,
    TransitionRequest,
    UserCreatedAnswer,
    UserDetailAnswer,
    UserListAnswer,
    UserSubscribeRequest,
    UserSubscriptionObject,
    UserTransitionAnswer,
)
from subscriptions.models import Subscription
from subscriptions.ports import BILLING
from subscriptions.selectors import (
    find_subscription_id,
    get_subscription,
    open_template,
    subscriptions,
)

TEMPLATE_ID: Final = OpenApiParameter("template_id", str)
STATUS: Final = OpenApiParameter("status", str, enum=Subscription.Status.values)
OPEN_POSITIONS: Final = OpenApiParameter(
    "open_positions", str, enum=[choice.value for choice in services.OpenPositions]
)
REASON: Final = OpenApiParameter("reason", str, description="Why, in words.")


class _ShowsSubscriptions(ApiViewSet):
    """Answers with subscriptions, as its audience sees them."""

    tag = "Subscriptions"

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        """Members of the audience's object. Needs what ``subscriptions.selectors`` loads."""
        raise NotImplementedError

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        """The serialised object of the audience."""
        raise NotImplementedError

    def load(self, public_id: str) -> Subscription:
        """The caller's subscription. Raises NotFound."""
        caller = self.caller
        return get_subscription(
            caller.partner_id, caller.environment, public_id, customer_id=caller.customer_id
        )


class _ToPartners(_ShowsSubscriptions, PartnerViewSet):
    """With the partner's commission."""

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return presenters.partner_row(subscription, self.caller.slug, now)

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return dict(PartnerSubscriptionObject(self.row(subscription, now)).data)


class _ToCustomers(_ShowsSubscriptions, UserViewSet):
    """Without any commission."""

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return presenters.user_row(subscription, now)

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return dict(UserSubscriptionObject(self.row(subscription, now)).data)


class SubscriptionViewSet(_ShowsSubscriptions):
    """Subscriptions: the actions that both audiences have."""

    lookup_field = "public_id"
    lookup_url_kwarg = "subscription_id"
    #: The holder of the holds that are placed and lifted here.
    reason: ClassVar[Subscription.Reason]
    list_answer: ClassVar[type[serializers.Serializer[Any]]]
    #: Whether the detail of a subscription includes its revenue shares.
    with_revenue: ClassVar[bool]

    def get_queryset(self) -> QuerySet[Subscription]:
        """The caller's subscriptions with what they owe, newest first."""
        caller = self.caller
        return BILLING.get().with_balance_due(
            subscriptions(caller.partner_id, caller.environment, customer_id=caller.customer_id)
        )

    def get_object(self) -> Subscription:
        """The subscription named by the path. Raises NotFound."""
        return self.load(self.kwargs["subscription_id"])

    @extend_schema(summary="List subscriptions", parameters=[TEMPLATE_ID, STATUS])
    def list(self, request: Request) -> Response:
        """All of them, newest first."""
        now = clock.now()
        queryset = self.filter_queryset(self.get_queryset())
        rows, pagination = paginate(request, queryset.filter(**parsing.list_filters(request)))
        answer = {
            "statusCode": 200,
            "subscriptions": [self.row(row, now) for row in rows],
            "pagination": pagination,
        }
        return Response(self.list_answer(answer).data)

    @extend_schema(summary="Get a subscription")
    def retrieve(self, request: Request, subscription_id: str) -> Response:
        """With accounts, last executions, and figures to date."""
        now = clock.now()
        subscription = self.get_object()
        shown = self.shown(subscription, now)
        return presenters.detail(
            shown, subscription, clock.ist_date(now), with_revenue=self.with_revenue
        )

    @extend_schema(summary="Cancel a subscription", parameters=[OPEN_POSITIONS, REASON])
    def destroy(self, request: Request, subscription_id: str) -> Response:
        """Cancel for good."""
        return self._transition(services.cancel, parsing.cancel_of, "Subscription cancelled")

    @extend_schema(summary="Pause a subscription")
    @action(detail=True, methods=["put"])
    def pause(self, request: Request, subscription_id: str) -> Response:
        """No new entry until resumed."""
        return self._transition(services.pause, parsing.transition_of, "Subscription paused")

    @extend_schema(summary="Resume a subscription")
    @action(detail=True, methods=["put"])
    def resume(self, request: Request, subscription_id: str) -> Response:
        """Enter again; somebody else's pause is lifted with a reason."""
        return self._transition(services.resume, parsing.resume_of, presenters.RESUMED)

    @extend_schema(
        summary="List a subscription's broker accounts", responses={200: AllocationListAnswer}
    )
    @action(detail=True)
    def allocations(self, request: Request, subscription_id: str) -> Response:
        """The broker accounts of a subscription, by priority."""
        return presenters.allocations(self.get_object(), clock.now())

    def _transition(
        self,
        service: Callable[..., services.TransitionResult],
        arguments: Callable[[Request], Mapping[str, str]],
        message: str,
    ) -> Response:
        """Call the service, and answer with the changed subscription."""
        caller, now = self.caller, clock.now()
        inner_id = find_subscription_id(  # 404 comes before the 400 of the arguments
            caller.partner_id,
            caller.environment,
            self.kwargs["subscription_id"],
            customer_id=caller.customer_id,
        )
        result = service(
            subscription_id=inner_id,
            actor=caller.actor,
            reason=self.reason,
            now=now,
            **arguments(self.request),
        )
        subscription = self.load(result.subscription.public_id)
        return presenters.transitioned(self.shown(subscription, now), result, message)


@extend_schema_view(
    list=extend_schema(
        operation_id="partner_subscriptions_list",
        parameters=[USER_EMAIL, EXTERNAL_USER_ID],
        responses={200: PartnerListAnswer},
    ),
    retrieve=extend_schema(
        operation_id="partner_subscriptions_retrieve", responses={200: PartnerDetailAnswer}
    ),
    destroy=extend_schema(
        operation_id="partner_subscriptions_cancel", responses={200: PartnerTransitionAnswer}
    ),
    pause=extend_schema(
        operation_id="partner_subscriptions_pause", responses={200: PartnerTransitionAnswer}
    ),
    resume=extend_schema(
        operation_id="partner_subscriptions_resume",
        description="Enter again; a pause by the customer is lifted with a reason.",
        responses={200: PartnerTransitionAnswer},
    ),
    allocations=extend_schema(operation_id="partner_subscriptions_allocations"),
)
class PartnerSubscriptionViewSet(SubscriptionViewSet, _ToPartners):
    """The subscriptions of a partner's customers."""

    filter_backends = (CustomerFilter,)
    reason = Subscription.Reason.PARTNER
    list_answer = PartnerListAnswer
    with_revenue = True
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(SUBSCRIPTIONS_READ, query=PAGING | parsing.LIST_QUERY | CUSTOMER_QUERY),
        "retrieve": ActionRule(SUBSCRIPTIONS_READ),
        "destroy": ActionRule(
            SUBSCRIPTIONS_WRITE, query=parsing.CANCEL_QUERY, open_when_suspended=True
        ),
        "pause": ActionRule(SUBSCRIPTIONS_WRITE, body=TransitionRequest, open_when_suspended=True),
        "resume": ActionRule(SUBSCRIPTIONS_WRITE, body=TransitionRequest),
        "allocations": ActionRule(SUBSCRIPTIONS_READ),
    }


@extend_schema_view(
    list=extend_schema(operation_id="user_subscriptions_list", responses={200: UserListAnswer}),
    retrieve=extend_schema(
        operation_id="user_subscriptions_retrieve", responses={200: UserDetailAnswer}
    ),
    destroy=extend_schema(
        operation_id="user_subscriptions_cancel", responses={200: UserTransitionAnswer}
    ),
    pause=extend_schema(
        operation_id="user_subscriptions_pause", responses={200: UserTransitionAnswer}
    ),
    resume=extend_schema(
        operation_id="user_subscriptions_resume",
        description="Enter again; a pause by the partner is lifted with a reason.",
        responses={200: UserTransitionAnswer},
    ),
    allocations=extend_schema(operation_id="user_subscriptions_allocations"),
)
class UserSubscriptionViewSet(SubscriptionViewSet, _ToCustomers):
    """A customer's own subscriptions."""

    reason = Subscription.Reason.USER
    list_answer = UserListAnswer
    with_revenue = False
    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(
            SUBSCRIPTIONS_READ, query=PAGING | parsing.LIST_QUERY, open_when_suspended=True
        ),
        "retrieve": ActionRule(SUBSCRIPTIONS_READ, open_when_suspended=True),
        "destroy": ActionRule(
            SUBSCRIPTIONS_WRITE, query=parsing.CANCEL_QUERY, open_when_suspended=True
        ),
        "pause": ActionRule(SUBSCRIPTIONS_WRITE, body=TransitionRequest, open_when_suspended=True),
        "resume": ActionRule(SUBSCRIPTIONS_WRITE, body=TransitionRequest),
        "allocations": ActionRule(SUBSCRIPTIONS_READ, open_when_suspended=True),
    }


class PartnerMarketplaceViewSet(_ToPartners):
    """A partner subscribes its customers."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "subscribe": ActionRule(MARKETPLACE_SUBSCRIBE, body=PartnerSubscribeRequest)
    }

    @extend_schema(
        operation_id="partner_marketplace_subscribe",
        summary="Subscribe a customer",
        responses={201: PartnerCreatedAnswer},
    )
    @action(detail=False, methods=["post"])
    def subscribe(self, request: Request) -> Response:
        """Subscribe a customer, found or created by id or e-mail."""
        data = self.validated(request)
        partner, now = self.caller, clock.now()
        created = services.subscribe(
            partner_id=partner.partner_id,
            environment=partner.environment,
            template_id=data["template_id"],
            user_email=data.get("user_email", ""),
            external_user_id=data.get("external_user_id", ""),
            user_name=data.get("user_name", ""),
            key_id=partner.key_id,
            actor=partner.actor,
            now=now,
            **parsing.subscribe_arguments(request, data),
        )
        subscription = self.load(created.public_id)
        return presenters.created(
            self.shown(subscription, now),
            subscription,
            email_differs=differs(data, subscription.customer.email),
        )


class UserMarketplaceViewSet(_ToCustomers):
    """A customer subscribes themselves."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "subscribe": ActionRule(MARKETPLACE_SUBSCRIBE, body=UserSubscribeRequest)
    }

    @extend_schema(
        operation_id="marketplace_subscribe",
        summary="Subscribe to a template",
        responses={201: UserCreatedAnswer},
    )
    @action(detail=False, methods=["post"], url_path="subscribe/<str:template_id>")
    def subscribe(self, request: Request, template_id: str) -> Response:
        """Subscribe with one's own account."""
        customer, now = self.caller, clock.now()
        # 404 comes before 400
        open_template(template_id, customer.partner_id, customer.environment, clock.ist_date(now))
        data = self.validated(request)
        created = services.subscribe(
            partner_id=customer.partner_id,
            environment=customer.environment,
            template_id=template_id,
            customer_id=get_customer_by_id(customer.customer_id).pk,
            key_id=customer.key_id,
            actor=customer.actor,
            now=now,
            **parsing.subscribe_arguments(request, data),
        )
        subscription = self.load(created.public_id)
        return presenters.created(self.shown(subscription, now), subscription)
