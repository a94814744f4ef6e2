"""Partners hear in time that a key of theirs expires (docs/partners.md#webhooks)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import transaction

from partners.models import PartnerKey
from partners.webhooks.events import timestamp
from quantleap.core import outbox
from quantleap.core.models import OutboxEvent

EXPIRING: Final = "key.expiring"
#: Days before its end at which a key is announced.
STEPS: Final = (1, 7, 30)


def announce_expiring(*, now: dt.datetime) -> int:
    """Write ``key.expiring`` for every key that is at most 30, 7 or 1 days from its end.

    One event per key and step (outbox_dedupe_uniq), so it may run at any time, and again. After
    days without a run only the step that is due now is announced. Revoked keys are not. Returns
    how many keys are within a step.
    """
    with transaction.atomic():
        keys = list(
            PartnerKey.objects.filter(
                status=PartnerKey.Status.ACTIVE,
                expires_at__gt=now,
                expires_at__lte=now + dt.timedelta(days=max(STEPS)),
            ).order_by("pk")
        )
        outbox.emit_many([_event(key, now) for key in keys])
    return len(keys)


def _event(key: PartnerKey, now: dt.datetime) -> OutboxEvent:
    left = key.expires_at - now
    step = min(days for days in STEPS if left <= dt.timedelta(days=days))
    return OutboxEvent(
        type=EXPIRING,
        object_id=key.public_id,
        payload={
            "key_id": key.public_id,
            "key": key.key,
            "label": key.label,
            "expires_at": timestamp(key.expires_at),
            "days_left": step,
        },
        partner_id=key.partner_id,
        environment=key.environment,
        created_at=now,
        dedupe_key=f"{EXPIRING}:{key.public_id}:{step}",
    )
