"""The audit entry and the outbox event of every step in a subscription's life."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from quantleap.core import audit, outbox
from quantleap.core.audit import Actor
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.request_context import current_request_id
from subscriptions.models import Subscription

CREATED: Final = "subscription.created"
PAUSED: Final = "subscription.paused"
RESUMED: Final = "subscription.resumed"
CANCELLED: Final = "subscription.cancelled"
UPDATED: Final = "subscription.updated"


def payload(subscription: Subscription) -> dict[str, Any]:
    """Data of an event. Customer and template must be loaded."""
    return {
        "subscription_id": subscription.public_id,
        "user_id": subscription.customer.public_id,
        "user_email": subscription.customer.email,
        "external_user_id": subscription.customer.external_user_id or None,
        "template_id": subscription.template.public_id,
        "template_name": subscription.template.name,
        "status": subscription.status,
        "status_reason": subscription.status_reason or None,
        "reason": subscription.status_note or None,
    }


def record(
    what: str, subscription: Subscription, *, actor: Actor, now: dt.datetime, **data: Any
) -> None:
    """Write the audit entry and the outbox event of one step, in the caller's transaction.

    ``data`` must be JSON.
    """
    audit.record(
        actor=actor,
        action=what,
        target_type="subscription",
        target_id=subscription.public_id,
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        data=_audited(subscription, data),
    )
    outbox.emit(
        what,
        payload(subscription) | data,
        about=subscription.public_id,
        partner_id=subscription.partner_id,
        environment=subscription.environment,
        now=now,
    )


def record_many(
    what: str, subscriptions: list[Subscription], *, actor: Actor, now: dt.datetime
) -> None:
    """:func:`record` for many, with two inserts per thousand instead of two for each."""
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                at=now,
                actor_kind=actor.kind,
                actor_id=actor.id,
                action=what,
                target_type="subscription",
                target_id=subscription.public_id,
                partner_id=subscription.partner_id,
                environment=subscription.environment,
                data=actor.noted(_audited(subscription, {})),
                request_id=current_request_id(),
            )
            for subscription in subscriptions
        ],
        batch_size=1000,
    )
    outbox.emit_many(
        [
            OutboxEvent(
                type=what,
                object_id=subscription.public_id,
                payload=payload(subscription),
                partner_id=subscription.partner_id,
                environment=subscription.environment,
                created_at=now,
            )
            for subscription in subscriptions
        ]
    )


def _audited(subscription: Subscription, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": subscription.status,
        "status_reason": subscription.status_reason,
        "note": subscription.status_note,
        **data,
    }
