"""Writes to people when an endpoint was disabled: the partner's contacts, and our own staff.

The outbox handler writes a row for each person; a task claims due rows (one UPDATE, committed),
sends with no transaction open, and records under the claim. Who dies in between leaves a claim that
runs out, and the mail goes out again under the same Message-ID: twice is possible, never not at
all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection, transaction

from partners.models import EndpointMail, Partner, WebhookEndpoint
from partners.webhooks.services import DISABLED
from quantleap.core import audit, clock
from quantleap.core.audit import Actor
from quantleap.core.inserts import insert_missing
from quantleap.core.models import OutboxEvent, StaffUser
from quantleap.core.retention import HELD_DAYS

log = structlog.get_logger(__name__)

# Waits after the first, second … failed try; the first try is at once.
RETRY_AFTER: Final = (
    dt.timedelta(minutes=1),
    dt.timedelta(minutes=10),
    dt.timedelta(hours=1),
    dt.timedelta(hours=4),
    dt.timedelta(hours=12),
    dt.timedelta(hours=24),
)
BATCH: Final = 10
# A batch is sent one after the other; longer than all its time-outs (settings.EMAIL_TIMEOUT).
CLAIM: Final = dt.timedelta(minutes=15)
#: Whoever may enable an endpoint again is told that one was disabled.
MAY_ENABLE: Final = "partners.change_webhookendpoint"

_CLAIM_DUE = """
UPDATE partners_endpointmail AS mail
   SET claimed_until = %(until)s, attempts = attempts + 1
 WHERE mail.id = ANY(ARRAY(
       SELECT due.id FROM partners_endpointmail AS due
        WHERE due.status = 'PENDING' AND due.next_attempt_at <= %(now)s
          AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
        ORDER BY due.next_attempt_at, due.id
        LIMIT %(limit)s
          FOR UPDATE SKIP LOCKED))
RETURNING mail.id, mail.attempts, mail.claimed_until
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mail that is ours until ``until``; ``attempt`` counts from 1."""

    id: int
    attempt: int
    until: dt.datetime


def queue_mails(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
    """Outbox handler, run in the relay's transaction: a row for everybody who is to know.

    Four queries however large the batch; a repeated event makes no second row
    (endpoint_mail_uniq).
    """
    told = [event for event in events if event.type == DISABLED]
    if not told:
        return
    ids = [event.payload["endpoint_id"] for event in told]
    endpoints = {one.public_id: one for one in WebhookEndpoint.objects.filter(public_id__in=ids)}
    partners = Partner.objects.in_bulk({event.partner_id for event in told})
    staff = _staff()
    rows: list[EndpointMail] = []
    for event in told:
        endpoint, partner = endpoints[event.payload["endpoint_id"]], partners[event.partner_id]
        rows += _mails(event, endpoint, partner, sorted(set(partner.contact_emails)), _BODY, now)
        ours = _BODY + (_TOLD if partner.contact_emails else _NOT_TOLD)
        rows += _mails(event, endpoint, partner, staff, ours, now)
    if not staff:
        log.warning("endpoint_disabled_and_no_staff_has_an_address", count=len(told))
    insert_missing(rows, unique=("partner_id", "environment", "endpoint", "event_id", "recipient"))


def _staff() -> list[str]:
    """Addresses of our own people who may enable an endpoint, and have one."""
    found = StaffUser.objects.with_perm(
        MAY_ENABLE, backend="django.contrib.auth.backends.ModelBackend"
    )
    return sorted(
        set(found.filter(is_staff=True).exclude(email="").values_list("email", flat=True))
    )


def _mails(
    event: OutboxEvent,
    endpoint: WebhookEndpoint,
    partner: Partner,
    recipients: Iterable[str],
    body: str,
    now: dt.datetime,
) -> list[EndpointMail]:
    at = clock.to_ist(event.created_at)
    text = body.format(
        partner=partner.name,
        environment=endpoint.environment,
        url=endpoint.url,
        endpoint_id=endpoint.public_id,
        at=f"{at.day} {at:%b %Y, %H:%M} IST",
        reason=event.payload["reason"],
        days=HELD_DAYS,
    )
    return [
        EndpointMail(
            partner_id=event.partner_id,
            environment=event.environment,
            endpoint=endpoint,
            event_id=event.event_id,
            recipient=recipient,
            subject=f"Webhook endpoint {endpoint.public_id} ({endpoint.environment}) is disabled",
            body=text,
            next_attempt_at=now,
            created_at=now,
        )
        for recipient in recipients
    ]


def send_due(*, now: dt.datetime, limit: int = 200) -> int:
    """Send at most ``limit`` due mails and record them; returns how many were accepted.

    Any number of processes may do so at once.
    """
    started = clock.monotonic()
    sent = tried = 0
    while tried < limit:
        moment = now + dt.timedelta(seconds=clock.monotonic() - started)
        claimed = claim(now=moment, limit=min(BATCH, limit - tried))
        if not claimed:
            break
        tried += len(claimed)
        sent += _send(claimed, moment)
    return sent


def claim(*, now: dt.datetime, limit: int) -> list[Claimed]:
    """Take at most ``limit`` due mails, oldest first (one UPDATE)."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_DUE, {"now": now, "until": now + CLAIM, "limit": limit})
        return [Claimed(*row) for row in cursor.fetchall()]


def _send(claimed: Sequence[Claimed], now: dt.datetime) -> int:
    """Send what was claimed, over one connection. No transaction is open here."""
    rows = EndpointMail.objects.in_bulk([one.id for one in claimed])
    backend = get_connection()
    sent = 0
    for one in claimed:
        error = _try(rows[one.id], backend)
        sent += not error
        _record(one, error, now)
    backend.close()
    return sent


def _try(mail: EndpointMail, backend: BaseEmailBackend) -> str:
    """Send one mail; why it failed, or nothing."""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip("> ")
    try:
        EmailMessage(
            subject=mail.subject,
            body=mail.body,
            to=[mail.recipient],
            headers={"Message-ID": f"<{mail.event_id}.{mail.pk}@{domain}>"},
            connection=backend,
        ).send()
    except Exception as error:  # noqa: BLE001
        # Every provider's backend has errors of its own, and one bad mail must not stop the rest.
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _record(mail: Claimed, error: str, now: dt.datetime) -> None:
    """Write what became of a mail, only while its claim is still ours."""
    mine = EndpointMail.objects.filter(
        pk=mail.id,
        status=EndpointMail.Status.PENDING,
        claimed_until=mail.until,
        attempts=mail.attempt,
    )
    if not error:
        mine.update(status=EndpointMail.Status.SENT, sent_at=now, claimed_until=None, last_error="")
        return
    log.warning("endpoint_mail_failed", mail=mail.id, attempt=mail.attempt)
    if mail.attempt > len(RETRY_AFTER):
        mine.update(status=EndpointMail.Status.FAILED, claimed_until=None, last_error=error)
        return
    mine.update(
        next_attempt_at=now + RETRY_AFTER[mail.attempt - 1], claimed_until=None, last_error=error
    )


def send_again(*, mail_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Staff want a mail to go out once more; False where it waits to be sent anyway."""
    with transaction.atomic():
        changed = (
            EndpointMail.objects.filter(pk=mail_id)
            .exclude(status=EndpointMail.Status.PENDING)
            .update(
                status=EndpointMail.Status.PENDING,
                attempts=0,
                next_attempt_at=now,
                sent_at=None,
                last_error="",
            )
        )
        if changed:
            mail = EndpointMail.objects.select_related("endpoint").get(pk=mail_id)
            audit.record(
                actor=actor,
                action="endpoint_mail.send_again",
                target_type="webhook_endpoint",
                target_id=mail.endpoint.public_id,
                partner_id=mail.partner_id,
                environment=mail.environment,
            )
    return bool(changed)


_BODY: Final = """\
QuantLeap sends nothing more to this webhook endpoint of {partner} ({environment}):

{url}
Endpoint: {endpoint_id}
Disabled: {at}
Reason: {reason}

Its events go on being written. Each is kept for {days} days, and can be sent, with its own
webhook-id, once the endpoint is enabled again: an endpoint is enabled, and a range of time is
replayed, in QuantLeap's console.
"""
_TOLD: Final = "\nThe partner's contacts got this mail too.\n"
_NOT_TOLD: Final = "\nThe partner has no contact address: nobody there was written to.\n"
