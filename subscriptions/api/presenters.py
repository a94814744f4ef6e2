"""Members of an answer; partner and customer get the same, except for the commission."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rest_framework.response import Response

from marketplace.api.presenters import PLATFORM_OWNER
from marketplace.models import Template
from quantleap.core.clock import at_ist, ist_date
from quantleap.core.money import BASIS_POINTS, split
from subscriptions.api.serializers import (
    AllocationAnswer,
    AllocationListAnswer,
    CreatedMembers,
    DetailMembers,
    PartnerCreatedMembers,
    PartnerDetailMembers,
    TransitionMembers,
)
from subscriptions.hold_state import holds_on
from subscriptions.lifecycle import PAUSED, still_held
from subscriptions.models import Allocation, Subscription
from subscriptions.periods import period_on
from subscriptions.ports import ACTIVITY, BILLING, BalanceDue
from subscriptions.selectors import definition_of
from subscriptions.services import TransitionResult
from subscriptions.sizing import effective_lots

LAST_EXECUTIONS: Final = 10
RESUMED: Final = "Subscription resumed"


def allocation_row(allocation: Allocation, now: dt.datetime) -> dict[str, Any]:
    """Members of AllocationObject; the account must be loaded."""
    account = allocation.account
    return {
        "allocation_id": allocation.public_id,
        "broker_id": account.broker,
        "client_id": account.client_id,
        "lot_multiplier": allocation.lot_multiplier,
        "priority": allocation.priority,
        "max_lots_per_order": allocation.max_lots_per_order,
        "status": allocation.status,
        "account_status": account.status,
        "has_oauth_token": account.has_session(now),
    }


def user_row(subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
    """Members of UserSubscriptionObject; customer, template and allocations must be loaded."""
    allocations = [allocation_row(allocation, now) for allocation in subscription.allocations.all()]
    today = ist_date(now)
    balance = BILLING.get().balance_due(subscription, today)
    next_date = balance.next_period
    template = subscription.template
    return {
        "subscription_id": subscription.public_id,
        "user_id": subscription.customer.public_id,
        "user_email": subscription.customer.email,
        "external_user_id": subscription.customer.external_user_id or None,
        "template_id": template.public_id,
        "template_basket_id": template.public_id,
        "template_name": template.name,
        "template_owner_id": _owner_id(subscription),
        "status": subscription.status,
        "status_reason": subscription.status_reason or None,
        "reason": subscription.status_note or None,
        "subscription_date": ist_date(subscription.created_at),
        "next_billing_date": next_date,
        "next_billing_at": at_ist(next_date, dt.time()) if next_date else None,
        "has_oauth_token": bool(allocations) and all(a["has_oauth_token"] for a in allocations),
        "pricing": {
            "type": "PAID" if subscription.price_id is not None else "FREE",
            "monthly_fee": subscription.monthly_fee,
            "currency": subscription.currency,
            "billing_start_date": _billing_start(subscription),
            "next_billing_date": next_date,
        },
        "payment": _payment_row(balance, subscription.currency),
        "broker_allocation": allocations[0] if allocations else None,
        "broker_allocations": allocations,
        "status_changed_at": subscription.status_changed_at,
        "created_at": subscription.created_at,
        "cancelled_at": subscription.cancelled_at,
        "ends_on": subscription.ends_on,
    }


def _owner_id(subscription: Subscription) -> str:
    """The platform, or the customer themselves: a private template has no other subscriber."""
    if subscription.template.owner == Template.Owner.PLATFORM:
        return PLATFORM_OWNER
    return subscription.customer.public_id


def _billing_start(subscription: Subscription) -> dt.date | None:
    """First day of its first month; if it continues a month begun before, of that month."""
    if not subscription.is_billed:
        return None
    anchor = subscription.anchor
    return period_on(anchor, max(anchor, ist_date(subscription.created_at))).start


def partner_row(subscription: Subscription, slug: str, now: dt.datetime) -> dict[str, Any]:
    """Members of PartnerSubscriptionObject; ``slug`` names the partner."""
    commission, platform = split(subscription.monthly_fee, subscription.partner_bps)
    key = subscription.attributed_key
    return user_row(subscription, now) | {
        "partner_attribution": {
            "partner_id": slug,
            "partner_api_key_id": key.public_id if key else None,
            "commission_rate": Decimal(subscription.partner_bps) / BASIS_POINTS,
            "monthly_commission": commission,
            "billing_start_date": _billing_start(subscription),
        },
        "revenue_share": {
            "partner_commission": commission,
            "platform_fee": platform,
            "currency": subscription.currency,
        },
    }


def hold_rows(subscription: Subscription, today: dt.date) -> list[dict[str, Any]]:
    """HoldObjects of a paused subscription as of ``today`` (IST; 3 queries), newest first.

    An active subscription has none.
    """
    if subscription.status != PAUSED:
        return []
    return [
        {"holder": hold.holder, "scope": hold.scope, "since": hold.placed_at}
        for hold in holds_on([subscription], today)[subscription.pk]
    ]


def lots_rows(subscription: Subscription) -> list[dict[str, Any]]:
    """Lots per leg over all accounts. Needs template__current_version and allocations."""
    template = subscription.template
    per_account = [
        effective_lots(
            definition_of(template), allocation.lot_multiplier, hide_legs=template.black_box
        )
        for allocation in subscription.allocations.all()
    ]
    return [
        {"leg": rows[0].leg, "lots": sum(row.lots for row in rows)}
        for rows in zip(*per_account, strict=True)
    ]


def _payment_row(balance: BalanceDue, currency: str) -> dict[str, Any]:
    """Members of PaymentObject."""
    return {
        "status": balance.status,
        "due_by": balance.due_by,
        "amount": balance.amount,
        "currency": currency,
        "pay_url": None,  # payment pages come with the gateways
        "missing": ["user_state"] if not balance.invoiceable else [],
    }


def revenue_to_date(subscription: Subscription) -> dict[str, Any]:
    """Shares of what was paid and not refunded (2 queries)."""
    shares = BILLING.get().shares_to_date(subscription.pk, subscription.partner_id)
    return {
        "partner_share": shares.partner,
        "platform_share": shares.platform,
        "currency": subscription.currency,
    }


# -- whole answers: flat, with the same object nested for clients of the older guide -------------
Row = dict[str, Any]


def created(
    shown: Row, subscription: Subscription, *, email_differs: bool | None = None
) -> Response:
    """201 for a new subscription; ``shown`` is its serialised object.

    ``email_differs`` is for a partner, who named the customer.
    """
    members = {
        "statusCode": 201,
        "message": "Subscription created successfully",
        "effective_lots": lots_rows(subscription),
    }
    if email_differs is None:
        return _flat_and_nested(CreatedMembers(members).data, shown, 201)
    members["email_differs"] = email_differs
    return _flat_and_nested(PartnerCreatedMembers(members).data, shown, 201)


def detail(
    shown: Row, subscription: Subscription, today: dt.date, *, with_revenue: bool
) -> Response:
    """One subscription as of ``today`` (IST) with its trades.

    For its partner also the shares to date.
    """
    activity = ACTIVITY.get()
    members: dict[str, Any] = {
        "statusCode": 200,
        "effective_lots": lots_rows(subscription),
        "holds": hold_rows(subscription, today),
        "last_executions": activity.last_executions(subscription.pk, LAST_EXECUTIONS),
        "performance_tracking": activity.performance(subscription.pk),
    }
    serializer: type[DetailMembers] = DetailMembers
    if with_revenue:
        members["revenue_share_tracking"] = revenue_to_date(subscription)
        serializer = PartnerDetailMembers
    return _flat_and_nested(serializer(members).data, shown)


def transitioned(
    shown: Row, result: TransitionResult, message: str, *, status: int = 200
) -> Response:
    """The subscription as it is now, and what the transition or the change did."""
    subscription = result.subscription
    if subscription.status == PAUSED and message == RESUMED:
        message = still_held(subscription.status_reason)
    members = {
        "statusCode": status,
        "message": message,
        "changed": result.changed,
        "next_entry_affected": result.next_entry_affected,
    }
    return _flat_and_nested(TransitionMembers(members).data, shown, status)


def allocations(subscription: Subscription, now: dt.datetime) -> Response:
    """The subscription's accounts by priority."""
    rows = [allocation_row(allocation, now) for allocation in subscription.allocations.all()]
    return Response(AllocationListAnswer({"statusCode": 200, "allocations": rows}).data)


def allocation(row: Allocation, now: dt.datetime) -> Response:
    """One of the subscription's accounts; the account must be loaded."""
    return Response(AllocationAnswer({"statusCode": 200, **allocation_row(row, now)}).data)


def _flat_and_nested(members: Mapping[str, Any], shown: Row, status: int = 200) -> Response:
    return Response({**members, "subscription": shown, **shown}, status=status)
