"""Turns outbox events into deliveries: one row per event and endpoint, never two."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from partners.ports import SHOWN_OBJECTS
from partners.webhooks.events import EVENT_TYPES, build_body, whole
from quantleap.core.inserts import insert_missing
from quantleap.core.models import OutboxEvent


def fan_out(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
    """Outbox handler, run in the relay's transaction: writes the deliveries of a batch of events.

    Uses three queries for any batch, plus those that show the objects. An event without a partner,
    of a type that is not for partners, or that no endpoint wants creates none; a repeated call
    creates no duplicates (delivery_endpoint_event_uniq). For a disabled endpoint and for a
    suspended partner deliveries are written as well, and held.
    """
    known = [
        event for event in events if event.partner_id is not None and event.type in EVENT_TYPES
    ]
    if not known:
        return
    endpoints: dict[tuple[int | None, str], list[WebhookEndpoint]] = defaultdict(list)
    # Locked: a process that disables an endpoint meanwhile either holds these too, or is visible
    # here.
    for endpoint in (
        WebhookEndpoint.objects.select_for_update(no_key=True)
        .filter(partner_id__in={event.partner_id for event in known})
        .order_by("id")
    ):
        endpoints[endpoint.partner_id, endpoint.environment].append(endpoint)
    # Read under those locks: a process that suspends a partner meanwhile either holds these, or is
    # visible here.
    suspended = frozenset(
        Partner.objects.filter(
            pk__in={endpoint.partner_id for mine in endpoints.values() for endpoint in mine},
            status=Partner.Status.SUSPENDED,
        ).values_list("pk", flat=True)
    )
    wanting = {event.event_id: _wanting(event, endpoints) for event in known}
    known = [event for event in known if wanting[event.event_id]]
    shown = _shown(known, now)
    deliveries = []
    for event in known:
        body = build_body(
            event.type,
            whole(shown.get(event.event_id, {}), event.payload),
            event.created_at,
            about=event.object_id,
            sequence=event.sequence,
        )
        deliveries += [
            new_delivery(endpoint, event, body, now, hold=endpoint.partner_id in suspended)
            for endpoint in wanting[event.event_id]
        ]
    insert_missing(deliveries, unique=("partner_id", "environment", "endpoint", "event_id"))


def _wanting(
    event: OutboxEvent, endpoints: Mapping[tuple[int | None, str], Sequence[WebhookEndpoint]]
) -> list[WebhookEndpoint]:
    return [
        endpoint
        for endpoint in endpoints.get((event.partner_id, event.environment), ())
        if not endpoint.events or event.type in endpoint.events
    ]


def _shown(events: Sequence[OutboxEvent], now: dt.datetime) -> Mapping[str, Mapping[str, Any]]:
    """The objects of the events, as the API shows them now (adr 0050)."""
    shown: dict[str, Mapping[str, Any]] = {}
    for show in SHOWN_OBJECTS.all():
        shown.update(show(events, now))
    return shown


def new_delivery(
    endpoint: WebhookEndpoint, event: OutboxEvent, body: str, now: dt.datetime, *, hold: bool
) -> WebhookDelivery:
    """An unsaved delivery: due at once, or held while its endpoint is disabled or because of
    ``hold``."""
    enabled = endpoint.status == WebhookEndpoint.Status.ENABLED and not hold
    return WebhookDelivery(
        partner_id=endpoint.partner_id,
        environment=endpoint.environment,
        endpoint=endpoint,
        event_id=event.event_id,
        type=event.type,
        body=body,
        status=WebhookDelivery.Status.PENDING if enabled else WebhookDelivery.Status.HELD,
        last_error="partner suspended" if hold else "",
        next_attempt_at=now if enabled else None,
        created_at=now,
    )
