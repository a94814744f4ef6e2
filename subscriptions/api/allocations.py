"""``…/subscriptions/{subscription_id}/allocations``: the broker accounts of a subscription."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response

from partners.permissions import SUBSCRIPTIONS_READ, SUBSCRIPTIONS_WRITE
from quantleap.core import clock
from quantleap.core.api.viewsets import ActionRule
from subscriptions import services
from subscriptions.api import parsing, presenters
from subscriptions.api.bases import ShowsSubscriptions, ToCustomers, ToPartners
from subscriptions.api.serializers import (
    AllocationAddRequest,
    AllocationAnswer,
    AllocationChangeRequest,
    AllocationListAnswer,
    PartnerTransitionAnswer,
    UserTransitionAnswer,
)
from subscriptions.selectors import get_allocation

_CHANGES: Final[Mapping[str, ActionRule]] = {
    "create": ActionRule(SUBSCRIPTIONS_WRITE, body=AllocationAddRequest),
    "partial_update": ActionRule(SUBSCRIPTIONS_WRITE, body=AllocationChangeRequest),
    "destroy": ActionRule(SUBSCRIPTIONS_WRITE),
}


class AllocationViewSet(ShowsSubscriptions):
    """Accounts of a subscription: the actions that both audiences have."""

    lookup_field = "public_id"
    lookup_url_kwarg = "allocation_id"

    @extend_schema(
        summary="List a subscription's broker accounts", responses={200: AllocationListAnswer}
    )
    def list(self, request: Request, subscription_id: str) -> Response:
        """The broker accounts of a subscription, by priority."""
        return presenters.allocations(self.load(subscription_id), clock.now())

    @extend_schema(
        summary="Get a broker account of a subscription", responses={200: AllocationAnswer}
    )
    def retrieve(self, request: Request, subscription_id: str, allocation_id: str) -> Response:
        """One of the accounts on which it trades."""
        allocation = get_allocation(self.inner_id(), allocation_id)
        return presenters.allocation(allocation, clock.now())

    @extend_schema(
        summary="Add a broker account to a subscription",
        description="Trade on one more account, from the next entry on. A subscription that was "
        "paused because it had no account stays paused until it is resumed.",
    )
    def create(self, request: Request, subscription_id: str) -> Response:
        """Trade on one more account."""
        inner_id, data = self.inner_id(), self.validated(request)
        result = services.add_allocation(
            subscription_id=inner_id,
            choice=parsing.added_account(data),
            actor=self.caller.actor,
            now=clock.now(),
        )
        return self.changed(result, "Account added", status=201)

    @extend_schema(
        summary="Change a broker account of a subscription",
        description="Change sizes, or trade on another account instead, from the next entry on.",
    )
    def partial_update(
        self, request: Request, subscription_id: str, allocation_id: str
    ) -> Response:
        """Change an account's sizes, or exchange it."""
        inner_id = self.inner_id()
        allocation = get_allocation(inner_id, allocation_id)
        data = self.validated(request)
        named: dict[str, Any] = {
            "subscription_id": inner_id,
            "allocation_id": allocation_id,
            "actor": self.caller.actor,
            "now": clock.now(),
        }
        choice = parsing.swapped_account(data, allocation)
        if choice is not None:
            return self.changed(services.swap_account(choice=choice, **named), "Account exchanged")
        result = services.change_allocation(changes=parsing.sizes_of(data), **named)
        return self.changed(result, "Allocation changed")

    @extend_schema(
        summary="Remove a broker account from a subscription",
        description="Stop trading on one of several accounts; what it holds is managed to its "
        "exit. 409 last_allocation for the only one.",
    )
    def destroy(self, request: Request, subscription_id: str, allocation_id: str) -> Response:
        """Stop trading on one of several accounts."""
        inner_id = self.inner_id()
        get_allocation(inner_id, allocation_id)
        parsing.refuse_body(request)
        result = services.remove_allocation(
            subscription_id=inner_id,
            allocation_id=allocation_id,
            actor=self.caller.actor,
            now=clock.now(),
        )
        return self.changed(result, "Account removed")


@extend_schema_view(
    list=extend_schema(operation_id="partner_subscriptions_allocations"),
    retrieve=extend_schema(operation_id="partner_subscriptions_allocations_retrieve"),
    create=extend_schema(
        operation_id="partner_subscriptions_allocations_add",
        responses={201: PartnerTransitionAnswer},
    ),
    partial_update=extend_schema(
        operation_id="partner_subscriptions_allocations_change",
        responses={200: PartnerTransitionAnswer},
    ),
    destroy=extend_schema(
        operation_id="partner_subscriptions_allocations_remove",
        responses={200: PartnerTransitionAnswer},
    ),
)
class PartnerAllocationViewSet(AllocationViewSet, ToPartners):
    """The accounts on which a partner's customers trade."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(SUBSCRIPTIONS_READ),
        "retrieve": ActionRule(SUBSCRIPTIONS_READ),
        **_CHANGES,
    }


@extend_schema_view(
    list=extend_schema(operation_id="user_subscriptions_allocations"),
    retrieve=extend_schema(operation_id="user_subscriptions_allocations_retrieve"),
    create=extend_schema(
        operation_id="user_subscriptions_allocations_add", responses={201: UserTransitionAnswer}
    ),
    partial_update=extend_schema(
        operation_id="user_subscriptions_allocations_change",
        responses={200: UserTransitionAnswer},
    ),
    destroy=extend_schema(
        operation_id="user_subscriptions_allocations_remove",
        responses={200: UserTransitionAnswer},
    ),
)
class UserAllocationViewSet(AllocationViewSet, ToCustomers):
    """The accounts on which a customer trades."""

    rules: ClassVar[Mapping[str, ActionRule]] = {
        "list": ActionRule(SUBSCRIPTIONS_READ, open_when_suspended=True),
        "retrieve": ActionRule(SUBSCRIPTIONS_READ, open_when_suspended=True),
        **_CHANGES,
    }
