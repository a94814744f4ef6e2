"""Subscriptions for events, as their partner's GET returns them (partners.ports.ShownObjects)."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from partners.models import Partner
from quantleap.core.api.plain import plain
from quantleap.core.models import OutboxEvent
from subscriptions.api.presenters import partner_row
from subscriptions.api.serializers import PartnerSubscriptionObject
from subscriptions.models import Subscription
from subscriptions.ports import BILLING
from subscriptions.selectors import subscriptions


def shown(events: Sequence[OutboxEvent], now: dt.datetime) -> Mapping[str, Mapping[str, Any]]:
    """Event id -> the subscription of each ``subscription.*`` event."""
    mine = [event for event in events if event.type.startswith("subscription.")]
    if not mine:
        return {}
    slugs = dict(
        Partner.objects.filter(pk__in={event.partner_id for event in mine}).values_list(
            "pk", "slug"
        )
    )
    tenants: dict[tuple[int | None, str], set[str]] = defaultdict(set)
    for event in mine:
        tenants[event.partner_id, event.environment].add(event.object_id)
    # by tenant, because one batch has events of many
    objects: dict[tuple[int | None, str, str], dict[str, Any]] = {}
    for (partner_id, environment), ids in tenants.items():
        rows = BILLING.get().with_balance_due(subscriptions(partner_id, environment))
        for row in rows.filter(public_id__in=ids):
            objects[partner_id, environment, row.public_id] = _object_of(
                row, slugs[partner_id or 0], now
            )
    keys = {
        event.event_id: (event.partner_id, event.environment, event.object_id) for event in mine
    }
    return {event_id: objects[key] for event_id, key in keys.items() if key in objects}


def _object_of(row: Subscription, slug: str, now: dt.datetime) -> dict[str, Any]:
    return plain(PartnerSubscriptionObject(partner_row(row, slug, now)).data)
