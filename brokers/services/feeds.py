"""Feed accounts: staff-owned logins that supply the platform's quotes (execution.md section 4)."""

from __future__ import annotations

import datetime as dt

from django.db import IntegrityError, transaction

from brokers import vault
from brokers.endpoints import require_enabled
from brokers.errors import BrokerRejected, BrokerUnavailable
from brokers.models import FeedAccount
from brokers.registry import get_adapter
from brokers.selectors import clean_broker, clean_client_id
from brokers.services.login import exchange_code
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest
from quantleap.core.identifiers import ascii_upper


def save_feed_account(
    *,
    feed: FeedAccount | None = None,
    name: str,
    broker: str,
    role: str,
    client_id: str,
    api_key: str,
    api_secret: str,
    is_active: bool = True,
    actor: Actor,
) -> FeedAccount:
    """Create ``name`` or change ``feed``. Empty credentials keep the stored ones.

    New credentials, client id or broker end the session. InvalidRequest when a second active
    primary would result, or a new account has no credentials.
    """
    kind, client = clean_broker(broker), clean_client_id(client_id)
    account = feed or FeedAccount()
    key = vault.check_credential("api_key", api_key) if api_key or account.pk is None else ""
    secret = (
        vault.check_credential("api_secret", api_secret) if api_secret or account.pk is None else ""
    )
    if key or secret or (account.broker, account.client_id) != (kind, client):
        account.access_token, account.token_expires_at = "", None
    account.name, account.broker, account.role = name.strip(), kind, role
    account.client_id, account.is_active = client, is_active
    try:
        with transaction.atomic():
            account.save()
            if key:
                account.api_key = vault.seal(account, "api_key", key)
            if secret:
                account.api_secret = vault.seal(account, "api_secret", secret)
            account.save()
            _audit(account, "feed_account.saved", actor)
    except IntegrityError as error:
        raise InvalidRequest(
            "Another active feed account has this name or is the primary",
            details={"role": "Only one active primary; make this one a spare."},
        ) from error
    return account


def feed_login_url(feed: FeedAccount, *, state: str) -> str:
    """The broker's login page for a feed account; BrokerNotEnabled (422) when not listed."""
    login_base = require_enabled(feed.broker).login
    return get_adapter(feed.broker).login_url(login_base, vault.credentials_of(feed), state)


def complete_feed_login(
    *, feed: FeedAccount, code: str, actor: Actor, now: dt.datetime
) -> FeedAccount:
    """Exchange a redirect's code for today's feed session.

    BrokerRejected (422) with the broker's words, BrokerUnavailable (503) without an answer.
    """
    result = exchange_code(feed.broker, vault.credentials_of(feed), code.strip())
    if result.unknown:
        raise BrokerUnavailable("The broker did not answer; log in again")
    if result.error or ascii_upper(result.client_id) != feed.client_id:
        message = result.error or "The broker logged in another client id"
        raise BrokerRejected(message, broker_response={"code": "login_refused", "message": message})
    with transaction.atomic():
        FeedAccount.objects.filter(pk=feed.pk).update(
            access_token=vault.seal(feed, "access_token", result.access_token),
            token_expires_at=get_adapter(feed.broker).token_expiry(now),
        )
        _audit(feed, "feed_account.logged_in", actor)
    feed.refresh_from_db()
    return feed


def _audit(feed: FeedAccount, action: str, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="feed_account",
        target_id=str(feed.pk),
        data={"name": feed.name, "broker": feed.broker, "client_id": feed.client_id},
    )
