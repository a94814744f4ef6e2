"""Audit entries about broker accounts: with broker and client id, without secrets."""

from __future__ import annotations

from brokers.models import BrokerAccount
from quantleap.core import audit
from quantleap.core.audit import Actor


def record(account: BrokerAccount, action: str, actor: Actor) -> None:
    """Write an entry; ``action`` is a name such as ``broker_account.linked``; in the caller's
    transaction."""
    audit.record(
        actor=actor,
        action=action,
        target_type="broker_account",
        target_id=str(account.pk),
        partner_id=account.partner_id,
        environment=account.environment,
        data={"broker": account.broker, "client_id": account.client_id},
    )
