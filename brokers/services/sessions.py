"""The end of daily sessions: announced before, reported after, tokens erased."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final

from django.db import transaction

from brokers.models import BrokerAccount, FeedLogin, LoginAttempt
from quantleap.core.models import OutboxEvent
from quantleap.core.outbox import emit_many

#: How long before its end a session is announced as expiring.
EXPIRING_LEAD: Final = dt.timedelta(hours=1)
#: Used and expired login states are kept this long for support.
_KEEP_ATTEMPTS: Final = dt.timedelta(days=7)


def sweep_sessions(*, now: dt.datetime, batch: int = 500) -> int:
    """Announce expiring sessions and end expired ones; returns how many ended. Safe to run
    anywhere."""
    announce_expiring(now=now)
    ended = 0
    while count := _end_batch(now, batch):
        ended += count
    for attempts in (LoginAttempt, FeedLogin):
        attempts._default_manager.filter(expires_at__lt=now - _KEEP_ATTEMPTS).delete()
    return ended


def announce_expiring(*, now: dt.datetime) -> None:
    """``broker_session.expiring`` for sessions that end within :data:`EXPIRING_LEAD`, once each."""
    ending = BrokerAccount.objects.filter(
        token_expires_at__gt=now, token_expires_at__lte=now + EXPIRING_LEAD
    ).select_related("customer")
    with transaction.atomic():
        emit_many(_events("broker_session.expiring", ending.iterator(chunk_size=1000), now))


def _end_batch(now: dt.datetime, batch: int) -> int:
    """End up to ``batch`` sessions in one transaction: token erased and event written together."""
    with transaction.atomic():
        dead = list(
            BrokerAccount.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(token_expires_at__lte=now)
            .select_related("customer")
            .order_by("token_expires_at", "pk")[:batch]
        )
        if not dead:
            return 0
        emit_many(_events("broker_session.expired", dead, now))
        BrokerAccount.objects.filter(pk__in=[account.pk for account in dead]).update(
            access_token="", token_expires_at=None, token_expiry_told_at=now, updated_at=now
        )
    return len(dead)


def _events(kind: str, accounts: Iterable[BrokerAccount], now: dt.datetime) -> list[OutboxEvent]:
    return [
        OutboxEvent(
            type=kind,
            object_id=f"{account.broker}:{account.client_id}",
            partner_id=account.partner_id,
            environment=account.environment,
            dedupe_key=f"{kind}:{account.pk}:{_stamp(account.token_expires_at)}",
            created_at=now,
            payload={
                "user_id": account.customer.public_id,
                "user_email": account.customer.email,
                "external_user_id": account.customer.external_user_id or None,
                "broker_name": account.broker,
                "client_id": account.client_id,
                "token_expires_at": _stamp(account.token_expires_at),
            },
        )
        for account in accounts
    ]


def _stamp(instant: dt.datetime | None) -> str:
    return instant.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if instant else ""
