"""Core's Celery tasks; the database holds what there is to do."""

from __future__ import annotations

from typing import Final

from celery import shared_task

from quantleap.core import clock, idempotency, key_alarm, outbox, retention

_RELAY_BATCH: Final = 500
_RELAY_ROUNDS: Final = 20


@shared_task(name="core.relay_outbox")
def relay_outbox() -> None:
    """Relay waiting outbox events; limited per run, the next beat continues."""
    for _ in range(_RELAY_ROUNDS):
        if outbox.relay(now=clock.now(), batch=_RELAY_BATCH) < _RELAY_BATCH:
            return


@shared_task(name="core.forget_idempotency_records")
def forget_idempotency_records() -> None:
    """Delete the idempotency records older than a day."""
    idempotency.forget_expired(now=clock.now())


@shared_task(name="core.purge")
def purge() -> None:
    """Delete the rows that have expired by the retention table."""
    retention.purge(now=clock.now())


@shared_task(name="core.watch_keys")
def watch_keys() -> None:
    """Look for stored values whose encryption key is missing, and log an error."""
    key_alarm.look()
