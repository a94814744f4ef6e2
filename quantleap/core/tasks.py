"""Wake-ups of the shared floor; the database holds what is to be done."""

from __future__ import annotations

from typing import Final

from celery import shared_task

from quantleap.core import clock, idempotency, keywatch, outbox, retention

_RELAY_BATCH: Final = 500
_RELAY_ROUNDS: Final = 20


@shared_task(name="core.relay_outbox")
def relay_outbox() -> None:
    """Tell what is waiting in the outbox; bounded, the next beat goes on."""
    for _ in range(_RELAY_ROUNDS):
        if outbox.relay(now=clock.now(), batch=_RELAY_BATCH) < _RELAY_BATCH:
            return


@shared_task(name="core.forget_idempotency_records")
def forget_idempotency_records() -> None:
    """Delete the idempotency records whose day has passed."""
    idempotency.forget_expired(now=clock.now())


@shared_task(name="core.purge")
def purge() -> None:
    """Throw away what the retention table says is over."""
    retention.purge(now=clock.now())


@shared_task(name="core.watch_keys")
def watch_keys() -> None:
    """Look for stored values whose encryption key is not in the ring; an error in the log."""
    keywatch.look()
