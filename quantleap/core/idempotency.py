"""Idempotency records: the first finished answer to a key is the only one.

There are two ways to hold a key:

* **With its effect**: the record is written in the caller's transaction, which also contains the
  effect. A second request waits on the unique constraint; a crash leaves neither effect nor record.
* **Around an external call**: a RUNNING record is committed before the call, because no
  transaction may be open during it. After a crash it stays RUNNING for its day: the external
  outcome is unknown, so no other request takes the key over.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from quantleap.core.errors import DomainError
from quantleap.core.models import IdempotencyRecord
from quantleap.core.tenancy import TenantQuerySet

KEEP: Final = dt.timedelta(hours=24)
WAIT_SECONDS: Final[float] = 3.0


class IdempotencyInProgress(DomainError):
    """409: the first request with this key has no answer yet, or never will."""

    status = 409
    code = "idempotency_in_progress"
    error = "Request in progress"
    retry_after = 1


class IdempotencyMismatch(DomainError):
    """422: the key belongs to another request."""

    status = 422
    code = "idempotency_mismatch"
    error = "Idempotency key reused"


class SecretAlreadyShown(DomainError):
    """409: the answer contained a secret, which is not stored."""

    status = 409
    code = "secret_already_shown"
    error = "Secret already shown"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key belongs to: its user and the request (SHA-256 of method, path, body)."""

    partner_id: int | None
    environment: str
    scope: str
    key: str
    fingerprint: str


def begin(claim: Claim, *, now: dt.datetime) -> tuple[IdempotencyRecord, bool]:
    """``(record, True)`` if the caller may use the key now, otherwise ``(earlier record, False)``.

    Must run in a transaction, the effect's own or a short one. Waits at most 3 s for a request that
    is writing the same key, then raises IdempotencyInProgress. Raises IdempotencyMismatch if the
    key was used for another request.
    """
    try:
        return _insert_or_read(claim, now)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise IdempotencyInProgress(
                "The first request with this key is still running; ask again in a second."
            ) from error
        raise


def _insert_or_read(claim: Claim, now: dt.datetime) -> tuple[IdempotencyRecord, bool]:
    while True:
        try:
            with transaction.atomic():
                _limit_lock_waits(f"{WAIT_SECONDS * 1000:.0f}ms")
                record = IdempotencyRecord.objects.create(
                    partner_id=claim.partner_id,
                    environment=claim.environment,
                    scope=claim.scope,
                    key=claim.key,
                    fingerprint=claim.fingerprint,
                    created_at=now,
                    expires_at=now + KEEP,
                )
                _limit_lock_waits(None)
                return record, True
        except IntegrityError:
            existing = _existing(claim).first()
        if existing is None:
            continue  # deleted in between
        if existing.expires_at <= now:
            _existing(claim).filter(pk=existing.pk, expires_at__lte=now).delete()
            continue
        if existing.fingerprint != claim.fingerprint:
            raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
        return existing, False


def _existing(claim: Claim) -> TenantQuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.for_partner(claim.partner_id, claim.environment).filter(
        scope=claim.scope, key=claim.key
    )


def _limit_lock_waits(text: str | None) -> None:
    """Limit lock waits for the rest of this transaction; None restores the connection's own
    limit."""
    with connection.cursor() as cursor:
        if text is None:
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        else:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [text])


def complete(record: IdempotencyRecord, *, status_code: int, body: Any, now: dt.datetime) -> None:
    """Store the answer. ``body`` None: it contained a secret, which is shown only once."""
    IdempotencyRecord.objects.filter(pk=record.pk, state=IdempotencyRecord.State.RUNNING).update(
        state=IdempotencyRecord.State.DONE, status_code=status_code, body=body, completed_at=now
    )


def abandon(record: IdempotencyRecord) -> None:
    """Free the key of a request that is known to have failed without effect."""
    IdempotencyRecord.objects.filter(pk=record.pk, state=IdempotencyRecord.State.RUNNING).delete()


def finished_answer(record: IdempotencyRecord) -> tuple[int, Any]:
    """``(status, body)`` of a finished record; otherwise raises IdempotencyInProgress or
    SecretAlreadyShown."""
    if record.status_code is None:
        raise IdempotencyInProgress(
            "The first request with this key has no answer yet. If it was interrupted, check "
            "what it did, then start again with a new key."
        )
    if record.body is None:
        raise SecretAlreadyShown("The answer to this key had a secret, which is shown only once.")
    return record.status_code, record.body


def forget_expired(*, now: dt.datetime, batch: int = 5000) -> int:
    """Delete records older than a day, at most ``batch`` of them; returns how many."""
    expired = IdempotencyRecord.objects.filter(expires_at__lte=now).order_by("expires_at")
    deleted, _ = IdempotencyRecord.objects.filter(
        pk__in=list(expired.values_list("pk", flat=True)[:batch])
    ).delete()
    return deleted
