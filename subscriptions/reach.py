"""Counts of a partner's customers and subscriptions, shown before the partner is suspended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db.models import Count, Q, Sum

from partners.ports import Figure
from quantleap.core.admin_columns import in_rupees
from quantleap.core.decimals import trimmed
from quantleap.core.money import ZERO
from quantleap.core.tenancy import Environment
from subscriptions.models import Allocation, Subscription

_ACTIVE: Final = Q(status=Subscription.Status.ACTIVE)
_PAUSED: Final = Q(status=Subscription.Status.PAUSED)


def reach(partner_id: int, now: dt.datetime) -> Sequence[Figure]:
    """Live subscriptions and customers, and the active ones' multipliers and fees (2 queries)."""
    del now
    live = Subscription.objects.filter(partner_id=partner_id).exclude(
        status=Subscription.Status.CANCELLED
    )
    rows = live.order_by().values("environment")
    counted: dict[str, Mapping[str, Any]] = {
        row["environment"]: row
        for row in rows.annotate(
            active=Count("pk", filter=_ACTIVE),
            paused=Count("pk", filter=_PAUSED),
            customers=Count("customer", distinct=True),
            fees=Sum("monthly_fee", filter=_ACTIVE, default=ZERO),
        )
    }
    sized = dict(
        Allocation.objects.filter(
            partner_id=partner_id,
            status=Allocation.Status.ACTIVE,
            subscription__status=Subscription.Status.ACTIVE,
        )
        .order_by()
        .values_list("environment")
        .annotate(total=Sum("lot_multiplier"))
    )

    def line(label: str, name: str) -> Figure:
        return _figure(label, {key: f"{row[name]:,}" for key, row in counted.items()}, "0")

    fees = {key: in_rupees(row["fees"]) for key, row in counted.items()}
    return [
        line("Active subscriptions", "active"),
        line("Paused", "paused"),
        line("Customers", "customers"),
        _figure("Multipliers, in all", {key: trimmed(value) for key, value in sized.items()}, "0"),
        Figure("Monthly fees", fees.get(Environment.LIVE, in_rupees(ZERO))),
    ]


def _figure(label: str, values: dict[str, str], none: str) -> Figure:
    return Figure(label, values.get(Environment.LIVE, none), values.get(Environment.TEST, none))
