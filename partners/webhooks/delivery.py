"""Sends due webhook deliveries at least once, and records the outcome.

A delivery is claimed (one UPDATE, committed), posted without an open transaction, and recorded
under its claim. If the process dies in between, the claim expires and the delivery is sent again: a
delivery may arrive twice, but is never lost.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final

import structlog
from django.db import transaction
from django.db.models import F

from partners.models import WebhookDelivery, WebhookEndpoint
from partners.webhooks import health
from partners.webhooks.claims import SLOTS, Claimed, Slots, claim
from partners.webhooks.http import Outcome, Sender
from partners.webhooks.services import disable_endpoint, secrets_in_force
from partners.webhooks.signatures import signed_headers
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.crypto import DecryptionError
from quantleap.core.tenancy import TenantQuerySet

log = structlog.get_logger(__name__)

# Waits after the first, second … failed try; the first try is immediate.
RETRY_AFTER: Final = (
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=14),
    dt.timedelta(hours=20),
    dt.timedelta(hours=24),
)
#: How often a run looks for newly due deliveries while all its posts are still in progress.
LOOK_AGAIN_SECONDS: Final = 0.25
#: Tries after which a run claims no more, so that a worker which stops need not wait long for it.
RUN_LIMIT: Final = 5000

_one_claims = threading.Lock()
_slots: Final = Slots()


def deliver_due(*, now: dt.datetime, limit: int = RUN_LIMIT) -> int:
    """Send at most ``limit`` due deliveries and record the outcome; returns how many were tried.

    Any number of processes may run it at once (SKIP LOCKED). A second call in the same process
    returns 0 at once while the first one still claims, because that one will see its work too; a
    run at its limit lets the next one claim while its last posts are in progress.
    """
    if not _one_claims.acquire(blocking=False):
        return 0
    claiming = contextlib.ExitStack()
    claiming.callback(_one_claims.release)
    with claiming:
        first = claim(now=now, limit=limit, slots=_slots)
        return _run(first, now, limit, claiming) if first else 0


def _run(
    first: Sequence[Claimed], now: dt.datetime, limit: int, claiming: contextlib.ExitStack
) -> int:
    """Claim and post until nothing is due or ``limit`` is reached, and record all outcomes.

    Ends ``claiming`` at the limit.
    """
    started = clock.monotonic()
    looked = started
    under_way: dict[Future[Outcome], Claimed] = {}
    tried, group, freed = 0, 0, 0
    claimed: Sequence[Claimed] = first
    try:
        with Sender(SLOTS) as sender:
            while claimed or under_way:
                moment = now + dt.timedelta(seconds=clock.monotonic() - started)
                if claimed:
                    _slots.take(claimed)
                    under_way.update(_post(sender, claimed, moment))
                    tried, group, freed = tried + len(claimed), len(claimed), 0
                done, _ = wait(under_way, timeout=LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED)
                moment = now + dt.timedelta(seconds=clock.monotonic() - started)
                if done:
                    results = [(under_way.pop(future), future.result()) for future in done]
                    _slots.free(delivery for delivery, _ in results)
                    record(results, now=moment)
                    freed += len(done)
                if tried >= limit:
                    claiming.close()
                    claimed = ()
                    continue
                # Claim in groups: a round trip per delivery would cost more than the posts.
                waited = clock.monotonic() - looked >= LOOK_AGAIN_SECONDS
                if waited or not under_way or freed >= max(1, group // 2):
                    claimed = claim(now=moment, limit=limit - tried, slots=_slots)
                    looked = clock.monotonic()
                else:
                    claimed = ()
    finally:
        _slots.free(under_way.values())  # only after an error: nobody will record these
    log.debug("webhooks_tried", count=tried)
    return tried


def _post(
    sender: Sender, claimed: Sequence[Claimed], now: dt.datetime
) -> dict[Future[Outcome], Claimed]:
    """Start posting the claimed deliveries. No transaction is open here."""
    if not claimed:
        return {}
    endpoints = WebhookEndpoint.objects.in_bulk({delivery.endpoint_id for delivery in claimed})
    sent_at = clock.real_now()
    posts = {}
    for delivery in claimed:
        endpoint = endpoints[delivery.endpoint_id]
        try:
            headers = signed_headers(
                event_id=delivery.event_id,
                body=delivery.body,
                secrets_in_force=secrets_in_force(endpoint, now),
                sent_at=sent_at,
            )
        except DecryptionError:
            posts[_finished(Outcome(None, "the signing secret cannot be read"))] = delivery
            continue
        posts[sender.post(endpoint.url, delivery.body, headers)] = delivery
    return posts


def _finished(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def record(results: Sequence[tuple[Claimed, Outcome]], *, now: dt.datetime) -> None:
    """Record the outcome of posts, each only while its claim is still ours (one transaction)."""
    with transaction.atomic():
        endpoints = _locked([delivery for delivery, outcome in results if not outcome.accepted])
        # In a fixed order, so that two processes cannot deadlock on each other's endpoint rows.
        for delivery, outcome in sorted(
            results, key=lambda pair: (pair[0].endpoint_id, pair[0].id)
        ):
            mine = WebhookDelivery.objects.filter(
                pk=delivery.id,
                status=WebhookDelivery.Status.PENDING,
                claimed_until=delivery.until,
                attempts=delivery.attempt,
            )
            if outcome.accepted:
                if _record_success(mine, outcome, now):
                    _end_spell(delivery.endpoint_id, endpoints)
            elif _record_failure(mine, delivery, outcome, now):
                _count_failure(endpoints[delivery.endpoint_id], outcome, now)


def _locked(failed: Sequence[Claimed]) -> dict[int, WebhookEndpoint]:
    """The endpoints of failed deliveries, locked before any delivery is, in the same order as
    disabling does."""
    if not failed:
        return {}
    rows = WebhookEndpoint.objects.select_for_update(no_key=True).order_by("id")
    return {
        endpoint.pk: endpoint
        for endpoint in rows.filter(pk__in={delivery.endpoint_id for delivery in failed})
    }


def _record_success(
    mine: TenantQuerySet[WebhookDelivery], outcome: Outcome, now: dt.datetime
) -> bool:
    return bool(
        mine.update(
            status=WebhookDelivery.Status.DELIVERED,
            delivered_at=now,
            claimed_until=None,
            last_status_code=outcome.status,
            last_error="",
        )
    )


def _record_failure(
    mine: TenantQuerySet[WebhookDelivery], delivery: Claimed, outcome: Outcome, now: dt.datetime
) -> bool:
    last = delivery.attempt > len(RETRY_AFTER)
    changed = mine.update(
        status=WebhookDelivery.Status.FAILED if last else WebhookDelivery.Status.PENDING,
        next_attempt_at=F("next_attempt_at") if last else now + RETRY_AFTER[delivery.attempt - 1],
        claimed_until=None,
        last_status_code=outcome.status,
        last_error=outcome.error[:200],
    )
    if changed:
        log.warning(
            "webhook_failed",
            event_id=delivery.event_id,
            attempt=delivery.attempt,
            why=outcome.error,
        )
    return bool(changed)


def _end_spell(endpoint_id: int, locked: dict[int, WebhookEndpoint]) -> None:
    """Record a success: earlier failures no longer count."""
    WebhookEndpoint.objects.filter(pk=endpoint_id, failing_since__isnull=False).update(
        failing_since=None, last_failed_at=None, failed_tries=0
    )
    if endpoint_id in locked:
        locked[endpoint_id].failing_since = None


def _count_failure(endpoint: WebhookEndpoint, outcome: Outcome, now: dt.datetime) -> None:
    """Count one more failed try of an endpoint, whatever the answer was, even a 410 (adr 0047)."""
    if endpoint.status != WebhookEndpoint.Status.ENABLED:
        return
    spell = health.after_failure(_spell(endpoint), now)
    endpoint.failing_since, endpoint.last_failed_at = spell.since, spell.last
    endpoint.failed_tries = spell.tries
    endpoint.save(update_fields=["failing_since", "last_failed_at", "failed_tries"])
    if not spell.is_death:
        return
    reason = (
        f"{spell.tries} tries failed since {spell.since:%Y-%m-%d %H:%M} UTC and none succeeded; "
        f"the last: {outcome.error}"
    )
    disable_endpoint(endpoint_id=endpoint.pk, reason=reason, actor=SYSTEM, now=now)
    endpoint.status = WebhookEndpoint.Status.DISABLED


def _spell(endpoint: WebhookEndpoint) -> health.Spell | None:
    since, last = endpoint.failing_since, endpoint.last_failed_at
    if since is None or last is None:
        return None
    return health.Spell(since=since, last=last, tries=endpoint.failed_tries)
