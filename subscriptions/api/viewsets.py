"""``…/marketplace/subscribe`` and ``…/subscriptions``: a customer never sees a commission."""

from __future__ import annotations

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
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.api.viewsets import ActionRule
from subscriptions import services
from subscriptions.api import parsing, presenters
from subscriptions.api.bases import ShowsSubscriptions, ToCustomers, ToPartners
from subscriptions.api.serializers import (
    PartnerCreatedAnswer,
    PartnerDetailAnswer,
    PartnerListAnswer,
    PartnerSubscribeRequest,
    PartnerTransitionAnswer,
    SizeRequest,
    TransitionRequest,
    UserCreatedAnswer,
    UserDetailAnswer,
    UserListAnswer,
    UserSubscribeRequest,
    UserTransitionAnswer,
)
from subscriptions.models import Subscription
from subscriptions.ports import BILLING
from subscriptions.selectors import (
    open_template,
    subscriptions,
)

TEMPLATE_ID: Final = OpenApiParameter("template_id", str)
STATUS: Final = OpenApiParameter("status", str, enum=Subscription.Status.values)
OPEN_POSITIONS: Final = OpenApiParameter(
    "open_positions", str, enum=[choice.value for choice in services.OpenPositions]
)
REASON: Final = OpenApiParameter("reason", str, description="Why, in words.")


class SubscriptionViewSet(ShowsSubscriptions):
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
        summary="Change a subscription's size",
        description="Change lots, priority or lots per order of the only account, from the next "
        "entry on. 409 allocation_ambiguous if there are several: use its allocation.",
    )
    def partial_update(self, request: Request, subscription_id: str) -> Response:
        """Change the size of the only account, from the next entry on."""
        inner_id, data = self.inner_id(), self.validated(request)
        return self.changed(
            services.change_allocation(
                subscription_id=inner_id,
                changes=parsing.sizes_of(data),
                actor=self.caller.actor,
                now=clock.now(),
            ),
            "Subscription changed",
        )

    def _transition(
        self,
        service: Callable[..., services.TransitionResult],
        arguments: Callable[[Request], Mapping[str, str]],
        message: str,
    ) -> Response:
        """Call the service, and answer with the changed subscription."""
        result = service(
            subscription_id=self.inner_id(),
            actor=self.caller.actor,
            reason=self.reason,
            now=clock.now(),
            **arguments(self.request),
        )
        return self.changed(result, message)


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
    partial_update=extend_schema(
        operation_id="partner_subscriptions_change", responses={200: PartnerTransitionAnswer}
    ),
)
class PartnerSubscriptionViewSet(SubscriptionViewSet, ToPartners):
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
        "partial_update": ActionRule(SUBSCRIPTIONS_WRITE, body=SizeRequest),
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
    partial_update=extend_schema(
        operation_id="user_subscriptions_change", responses={200: UserTransitionAnswer}
    ),
)
class UserSubscriptionViewSet(SubscriptionViewSet, ToCustomers):
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
        "partial_update": ActionRule(SUBSCRIPTIONS_WRITE, body=SizeRequest),
    }


class PartnerMarketplaceViewSet(ToPartners):
    """A partner subscribes its customers."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "subscribe": ActionRule(
            MARKETPLACE_SUBSCRIBE, body=PartnerSubscribeRequest, limit=LimitClass.SUBSCRIBE
        )
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


class UserMarketplaceViewSet(ToCustomers):
    """A customer subscribes themselves."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "subscribe": ActionRule(
            MARKETPLACE_SUBSCRIBE, body=UserSubscribeRequest, limit=LimitClass.SUBSCRIBE
        )
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
