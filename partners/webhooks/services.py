"""Services of webhook endpoints: create, rotate, disable, enable, replay."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.db.models import Q

from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from partners.webhooks.events import EVENT_TYPES, timestamp
from partners.webhooks.http import check_target
from partners.webhooks.signatures import new_signing_secret
from quantleap.core import audit, crypto, outbox
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, InvalidTransition, NotFound
from quantleap.core.fields import sealed_place
from quantleap.core.identifiers import ascii_lower
from quantleap.core.outbound_targets import UnsafeTarget

#: Sent to the partner's other endpoints, and by mail to people.
DISABLED: Final = "webhook_endpoint.disabled"
ROTATION_OVERLAP: Final = dt.timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class CreatedEndpoint:
    """An endpoint and its signing secret, which only this answer shows."""

    endpoint: WebhookEndpoint
    secret: str


def create_endpoint(
    *,
    partner_id: int,
    environment: str,
    url: str,
    actor: Actor,
    now: dt.datetime,
    events: Iterable[str] = (),
) -> CreatedEndpoint:
    """Create an endpoint for ``events`` (empty: all of them).

    The URL is stored in the form in which it will be called: the host in lower case and as
    A-labels.

    InvalidRequest names ``url`` or ``events`` if they are invalid.
    """
    subscribed = _checked_events(events)
    try:
        target = check_target(url)
    except UnsafeTarget as error:
        raise InvalidRequest(f"URL: {error}", details={"url": str(error)}) from error
    secret = new_signing_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.create(
            partner_id=partner_id,
            environment=environment,
            url=target.url,
            events=subscribed,
            created_at=now,
        )
        # The ciphertext is bound to its row, so the row must exist first.
        endpoint.secret = crypto.encrypt(secret, place=sealed_place(endpoint, "secret"))
        endpoint.save(update_fields=["secret"])
        _record(endpoint, "webhook_endpoint.created", actor)
    return CreatedEndpoint(endpoint, secret)


def rotate_secret(*, endpoint_id: int, actor: Actor, now: dt.datetime) -> CreatedEndpoint:
    """Create a new signing secret; for 24 h every delivery also carries a signature of the old
    one."""
    secret = new_signing_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint_id).first()
        if endpoint is None:
            raise NotFound
        try:
            current = crypto.decrypt(endpoint.secret, place=sealed_place(endpoint, "secret"))
        except crypto.DecryptionError:
            current = ""  # nothing could be signed with it either; a new secret solves that
        endpoint.previous_secret = crypto.encrypt(
            current, place=sealed_place(endpoint, "previous_secret")
        )
        endpoint.previous_secret_until = now + ROTATION_OVERLAP if current else None
        endpoint.secret = crypto.encrypt(secret, place=sealed_place(endpoint, "secret"))
        endpoint.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
        _record(endpoint, "webhook_endpoint.secret_rotated", actor)
    return CreatedEndpoint(endpoint, secret)


def secrets_in_force(endpoint: WebhookEndpoint, now: dt.datetime) -> list[str]:
    """The decrypted signing secrets of an endpoint, newest first.

    DecryptionError if the current one cannot be read; an unreadable older one is omitted.
    """
    secrets = [crypto.decrypt(endpoint.secret, place=sealed_place(endpoint, "secret"))]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret and until is not None and until > now:
        place = sealed_place(endpoint, "previous_secret")
        with contextlib.suppress(crypto.DecryptionError):
            secrets.append(crypto.decrypt(endpoint.previous_secret, place=place))
    return secrets


def enable_endpoint(*, endpoint_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Send to an endpoint again, from the next event on. False if it was already enabled.

    Deliveries held meanwhile stay held: :func:`replay_range` sends them.
    """
    return _set_status(endpoint_id, WebhookEndpoint.Status.ENABLED, "", actor, now)


def disable_endpoint(*, endpoint_id: int, reason: str, actor: Actor, now: dt.datetime) -> bool:
    """Stop sending to an endpoint. Waiting deliveries and all later ones are held.

    False if it was already disabled. The event ``webhook_endpoint.disabled`` goes to the partner's
    other endpoints, and mails go to those who can do something about it (``mails.py``).
    """
    with transaction.atomic():
        if not _set_status(endpoint_id, WebhookEndpoint.Status.DISABLED, reason, actor, now):
            return False
        endpoint = WebhookEndpoint.objects.get(pk=endpoint_id)
        endpoint.deliveries.filter(status=WebhookDelivery.Status.PENDING).update(
            status=WebhookDelivery.Status.HELD, claimed_until=None, last_error="endpoint disabled"
        )
        outbox.emit(
            DISABLED,
            {
                "endpoint_id": endpoint.public_id,
                "url": endpoint.url,
                "reason": endpoint.disabled_reason,
                "disabled_at": timestamp(now),
            },
            about=endpoint.public_id,
            partner_id=endpoint.partner_id,
            environment=endpoint.environment,
            now=now,
        )
    return True


def hold_deliveries(*, partner_id: int) -> int:
    """Hold the waiting deliveries of a partner that is being suspended; returns how many.

    Call it in the suspension's transaction. It locks the endpoints first, as the relay does: what
    the relay has written before is held here, and what it writes later it holds itself
    (``fanout``).
    """
    endpoints = WebhookEndpoint.objects.select_for_update(no_key=True).filter(partner_id=partner_id)
    return WebhookDelivery.objects.filter(
        endpoint_id__in=[endpoint.pk for endpoint in endpoints.order_by("id")],
        status=WebhookDelivery.Status.PENDING,
    ).update(status=WebhookDelivery.Status.HELD, claimed_until=None, last_error="partner suspended")


def _refuse_suspended(partner_id: int | None) -> None:
    """Raise InvalidTransition while the partner is suspended: its customers' data stays here."""
    suspended = Partner.objects.filter(pk=partner_id or 0, status=Partner.Status.SUSPENDED)
    if suspended.exists():
        raise InvalidTransition(
            "The partner is suspended: nothing is sent until it is reinstated.",
            status=Partner.Status.SUSPENDED,
        )


class Replay(enum.Enum):
    """The result of asking for a delivery again."""

    AGAIN = "again"  # it had ended, and starts again from its first try
    NOW = "now"  # a retry was pending, and happens now


def replay(*, delivery_id: int, actor: Actor, now: dt.datetime) -> Replay:
    """Send a delivery now, with its own event id: with a new series of tries if it had ended,
    otherwise its next try.

    A pending retry keeps its count of tries and only happens earlier. InvalidTransition while it is
    in progress (up to a minute), its endpoint is disabled or the partner suspended.
    """
    with transaction.atomic():
        # Locked, so that a concurrent suspension is either visible here or holds what becomes due.
        endpoints = WebhookEndpoint.objects.select_for_update(no_key=True)
        endpoint = endpoints.filter(deliveries=delivery_id).first()
        if endpoint is not None:
            _refuse_suspended(endpoint.partner_id)
        reachable = WebhookDelivery.objects.filter(
            pk=delivery_id, endpoint__status=WebhookEndpoint.Status.ENABLED
        )
        pending = Q(status=WebhookDelivery.Status.PENDING)
        resting = Q(claimed_until__isnull=True) | Q(claimed_until__lte=now)
        done: Replay | None = None
        if reachable.filter(~pending).update(
            status=WebhookDelivery.Status.PENDING,
            attempts=0,
            next_attempt_at=now,
            claimed_until=None,
            delivered_at=None,
        ):
            done = Replay.AGAIN
        elif reachable.filter(pending & resting).update(next_attempt_at=now):
            done = Replay.NOW
        delivery = WebhookDelivery.objects.select_related("endpoint").filter(pk=delivery_id).first()
        if delivery is None:
            raise NotFound
        if done is None:
            if delivery.endpoint.status != WebhookEndpoint.Status.ENABLED:
                words = "Its endpoint is disabled: enable the endpoint first, then send again."
            else:
                words = "It is being sent right now. Look at its result in a minute."
            raise InvalidTransition(words, status=delivery.status)
        audit.record(
            actor=actor,
            action="webhook_delivery.replayed",
            target_type="webhook_endpoint",
            target_id=delivery.endpoint.public_id,
            partner_id=delivery.partner_id,
            environment=delivery.environment,
            data={"event_id": delivery.event_id, "how": done.value},
        )
    return done


def replay_range(
    *,
    endpoint_id: int,
    since: dt.datetime,
    until: dt.datetime,
    actor: Actor,
    now: dt.datetime,
    delivered: bool = False,
) -> int:
    """Send again what was written for an endpoint from ``since`` until before ``until``.

    That is what was held or failed, with ``delivered`` also what arrived; each keeps its event id
    and starts with its first try. Returns how many. One UPDATE for any number.

    InvalidRequest for an empty range, InvalidTransition while the endpoint is disabled or the
    partner suspended.
    """
    if since >= until:
        words = "The end must be later than the beginning."
        raise InvalidRequest(words, details={"until": words})
    states = [WebhookDelivery.Status.HELD, WebhookDelivery.Status.FAILED]
    if delivered:
        states.append(WebhookDelivery.Status.DELIVERED)
    with transaction.atomic():
        rows = WebhookEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint_id)
        endpoint = rows.first()
        if endpoint is None:
            raise NotFound
        if endpoint.status != WebhookEndpoint.Status.ENABLED:
            raise InvalidTransition("Enable the endpoint first.", status=endpoint.status)
        _refuse_suspended(endpoint.partner_id)
        count = endpoint.deliveries.filter(
            status__in=states, created_at__gte=since, created_at__lt=until
        ).update(
            status=WebhookDelivery.Status.PENDING,
            attempts=0,
            next_attempt_at=now,
            claimed_until=None,
            delivered_at=None,
        )
        _record(
            endpoint,
            "webhook_endpoint.replayed",
            actor,
            since=timestamp(since),
            until=timestamp(until),
            delivered_too=delivered,
            count=count,
        )
    return count


def _checked_events(names: Iterable[str]) -> list[str]:
    types = sorted(set(names))
    unknown = [name for name in types if name not in EVENT_TYPES]
    if unknown:
        message = f"Unknown: {', '.join(unknown)}. Known: {', '.join(sorted(EVENT_TYPES))}."
        raise InvalidRequest(message, details={"events": message})
    return types


def _set_status(endpoint_id: int, status: str, reason: str, actor: Actor, now: dt.datetime) -> bool:
    fields: dict[str, Any] = {"status": status, "disabled_reason": reason[:200]}
    if status == WebhookEndpoint.Status.ENABLED:
        # Failures are kept while it is disabled: the first page uses them to tell who disabled it.
        fields |= {"disabled_at": None, "failing_since": None}
        fields |= {"last_failed_at": None, "failed_tries": 0}
    else:
        fields["disabled_at"] = now
    with transaction.atomic():
        changed = (
            WebhookEndpoint.objects.filter(pk=endpoint_id).exclude(status=status).update(**fields)
        )
        endpoint = WebhookEndpoint.objects.filter(pk=endpoint_id).first()
        if endpoint is None:
            raise NotFound
        if changed:
            _record(endpoint, f"webhook_endpoint.{ascii_lower(status)}", actor, reason=reason)
    return bool(changed)


def _record(endpoint: WebhookEndpoint, action: str, actor: Actor, **data: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="webhook_endpoint",
        target_id=endpoint.public_id,
        partner_id=endpoint.partner_id,
        environment=endpoint.environment,
        data={"url": endpoint.url, **data},
    )
