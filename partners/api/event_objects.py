"""Customers in the shape of the partner's GET, for events (partners.ports.ShownObjects)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from partners.api.serializers import CustomerObject, customer_row
from partners.models import Customer
from quantleap.core.api.plain import plain
from quantleap.core.models import OutboxEvent


def shown(events: Sequence[OutboxEvent], now: dt.datetime) -> Mapping[str, Mapping[str, Any]]:
    """The customer of each ``customer.*`` event, by event id (1 query)."""
    del now
    mine = [event for event in events if event.type.startswith("customer.")]
    if not mine:
        return {}
    rows = Customer.objects.filter(public_id__in={event.object_id for event in mine})
    customers = {
        (row.partner_id, row.environment, row.public_id): plain(
            CustomerObject(customer_row(row)).data
        )
        for row in rows
    }
    keys = {
        event.event_id: (event.partner_id, event.environment, event.object_id) for event in mine
    }
    return {event_id: customers[key] for event_id, key in keys.items() if key in customers}
