"""Transactional outbox: written with the change, delivered after the commit, at least once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from django.db import transaction

from quantleap.core.inserts import insert_missing
from quantleap.core.models import OutboxEvent
from quantleap.core.ports import Handlers
from quantleap.core.tenancy import Environment

log = structlog.get_logger(__name__)


class OutboxHandler(Protocol):
    """Turns a batch of events into rows of its own (webhook deliveries, notifications).

    Called inside the relay's transaction: it must only write to the database.
    """

    def __call__(self, events: Sequence[OutboxEvent], now: dt.datetime) -> None: ...


class Wakeup(Protocol):
    """Asks the relay to run soon. A lost wake-up only costs time, because beat runs it every
    second."""

    def __call__(self) -> None: ...


HANDLERS: Final[Handlers[OutboxHandler]] = Handlers("outbox")


class NotInTransaction(RuntimeError):
    """emit() was called outside a transaction, so the event could outlive a rolled-back change."""


def emit(
    type: str,  # the name in the webhook's body
    payload: Mapping[str, Any],
    *,
    about: str,
    partner_id: int | None,
    environment: str = Environment.LIVE,
    dedupe_key: str | None = None,
    now: dt.datetime,
) -> None:
    """Write one event in the current transaction. A repeated ``dedupe_key`` writes nothing.

    ``about`` is the public id of the event's object. The database numbers the events of one object,
    so a concurrent second transaction waits for the first.
    """
    emit_many(
        [
            OutboxEvent(
                type=type,
                object_id=about,
                payload=dict(payload),
                partner_id=partner_id,
                environment=environment,
                dedupe_key=dedupe_key,
                created_at=now,
            )
        ]
    )


def emit_many(events: Sequence[OutboxEvent]) -> None:
    """Write events in the current transaction; those with a known dedupe key are left out.

    They are grouped by object, each group in the given order, so that two transactions with events
    of the same objects do not deadlock on each other's numbers.
    """
    if not transaction.get_connection().in_atomic_block:
        raise NotInTransaction
    in_order: list[OutboxEvent] = sorted(events, key=lambda event: event.object_id)
    insert_missing(
        in_order,
        unique=("partner_id", "environment", "dedupe_key"),
        where="dedupe_key IS NOT NULL",
    )


def relay(*, now: dt.datetime, batch: int = 500) -> int:
    """Publish the oldest unpublished events; returns how many. Safe to run anywhere, often."""
    with transaction.atomic():
        events = list(
            OutboxEvent.objects.select_for_update(skip_locked=True)
            .filter(published_at__isnull=True)
            .order_by("id")[:batch]
        )
        if not events:
            return 0
        for handler in HANDLERS.all():
            handler(events, now)
        OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(published_at=now)
    log.debug("outbox_relayed", count=len(events))
    return len(events)
