"""Reads of this room that more than one interface or room needs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from subscriptions.models import Allocation, Subscription


@dataclass(frozen=True, slots=True)
class ActiveAllocation:
    """One ACTIVE allocation of an ACTIVE subscription, with what arming needs of its account."""

    allocation_id: int
    subscription_id: int
    customer_id: int
    partner_id: int | None
    environment: str
    account_id: int
    broker: str
    client_id: str
    lot_multiplier: Decimal
    priority: int
    max_lots_per_order: int | None
    account_status: str
    token_expires_at: dt.datetime | None


def active_allocations(template_id: int, environment: str) -> list[ActiveAllocation]:
    """Discovery for a run: every active subscriber's allocations and accounts.

    One query whatever their number (execution.md section 7 allows two).
    """
    rows = (
        Allocation.objects.filter(
            subscription__template_id=template_id,
            subscription__status=Subscription.Status.ACTIVE,
            subscription__environment=environment,
            status=Allocation.Status.ACTIVE,
        )
        .order_by("id")
        .values_list(
            "id",
            "subscription_id",
            "subscription__customer_id",
            "partner_id",
            "environment",
            "account_id",
            "account__broker",
            "account__client_id",
            "lot_multiplier",
            "priority",
            "max_lots_per_order",
            "account__status",
            "account__token_expires_at",
        )
    )
    return [ActiveAllocation(*row) for row in rows]
