"""Mails about disabled endpoints, to the partner's contacts and our own staff.

The outbox handler writes a row for each person; a task sends them (:mod:`quantleap.core.mail`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from partners.models import EndpointMail, Partner, WebhookEndpoint
from partners.webhooks.services import DISABLED
from quantleap.core.dates import moment_text
from quantleap.core.inserts import insert_missing
from quantleap.core.mail import MailQueue, letter
from quantleap.core.models import OutboxEvent, StaffUser
from quantleap.core.retention import HELD_DAYS

log = structlog.get_logger(__name__)

#: Staff who may enable an endpoint again get a mail that one was disabled.
MAY_ENABLE: Final = "partners.change_webhookendpoint"


def queue_mails(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
    """Outbox handler, run in the relay's transaction: writes a row for each recipient.

    Four queries for any batch; a repeated event creates no second row (endpoint_mail_uniq).
    """
    disabled = [event for event in events if event.type == DISABLED]
    if not disabled:
        return
    ids = [event.payload["endpoint_id"] for event in disabled]
    endpoints = {
        endpoint.public_id: endpoint
        for endpoint in WebhookEndpoint.objects.filter(public_id__in=ids)
    }
    partners = Partner.objects.in_bulk({event.partner_id for event in disabled})
    staff = _staff()
    rows: list[EndpointMail] = []
    for event in disabled:
        endpoint, partner = endpoints[event.payload["endpoint_id"]], partners[event.partner_id]
        rows += _mails(event, endpoint, partner, sorted(set(partner.contact_emails)), _BODY, now)
        ours = _BODY + (_TOLD if partner.contact_emails else _NOT_TOLD)
        rows += _mails(event, endpoint, partner, staff, ours, now)
    if not staff:
        log.warning("endpoint_disabled_and_no_staff_has_an_address", count=len(disabled))
    insert_missing(rows, unique=("partner_id", "environment", "endpoint", "event_id", "recipient"))


def _staff() -> list[str]:
    """Addresses of staff users who may enable an endpoint."""
    permitted = StaffUser.objects.with_perm(
        MAY_ENABLE, backend="django.contrib.auth.backends.ModelBackend"
    )
    return sorted(
        set(permitted.filter(is_staff=True).exclude(email="").values_list("email", flat=True))
    )


def _mails(
    event: OutboxEvent,
    endpoint: WebhookEndpoint,
    partner: Partner,
    recipients: Iterable[str],
    body: str,
    now: dt.datetime,
) -> list[EndpointMail]:
    text = body.format(
        partner=partner.name,
        environment=endpoint.environment,
        url=endpoint.url,
        endpoint_id=endpoint.public_id,
        at=moment_text(event.created_at),
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


def _about(mail: EndpointMail) -> tuple[str, str]:
    return "webhook_endpoint", mail.endpoint.public_id


def _compose(mail: EndpointMail, backend: BaseEmailBackend) -> EmailMessage:
    return letter(
        backend,
        recipient=mail.recipient,
        subject=mail.subject,
        body=mail.body,
        number=f"{mail.event_id}.{mail.pk}",
    )


QUEUE: Final = MailQueue(EndpointMail, _compose, about=_about, related=("endpoint",))
send_due: Final = QUEUE.send_due
send_again: Final = QUEUE.send_again

_BODY: Final = """\
QuantLeap no longer sends to this webhook endpoint of {partner} ({environment}):

{url}
Endpoint: {endpoint_id}
Disabled: {at}
Reason: {reason}

Its events are still stored. Each is kept for {days} days, and can be sent, with its own
webhook-id, once the endpoint is enabled again: an endpoint is enabled, and a range of time is
replayed, in QuantLeap's console.
"""
_TOLD: Final = "\nThe partner's contacts also got this mail.\n"
_NOT_TOLD: Final = "\nThe partner has no contact address, so nobody there got a mail.\n"
