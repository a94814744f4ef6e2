"""Feed accounts: staff-owned logins that supply the platform's quotes.

The daily login begins in the console (:func:`start_feed_login`), continues on the broker's page and
comes back to ours with a code. :func:`spend_feed_login` matches it with the login that this console
session began, and :func:`complete_feed_login` exchanges it.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any, Final

from django.db import IntegrityError, transaction

from brokers import sealed_credentials
from brokers.base import Credentials
from brokers.endpoints import require_enabled
from brokers.errors import (
    BrokerRejected,
    BrokerUnavailable,
    CredentialsUnreadable,
    FeedLoginLost,
)
from brokers.models import FeedAccount, FeedLogin
from brokers.registry import get_adapter
from brokers.selectors import clean_broker, clean_client_id
from brokers.services.login import check_code, exchange_code, prove_owner, session_end
from quantleap.core import audit, crypto
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, NotFound

#: Staff type a password and a second factor in this time.
FEED_LOGIN_SECONDS: Final = 600
_STATE_PURPOSE: Final = "feed-login-state"
_SESSION_PURPOSE: Final = "feed-login-session"


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

    New credentials, client id or broker end the session. InvalidRequest if there would be a second
    active primary, or a new account has no credentials; NotFound if it no longer exists.
    """
    fields = {
        "name": name.strip(),
        "broker": clean_broker(broker),
        "role": role,
        "client_id": clean_client_id(client_id),
        "is_active": is_active,
    }
    sealed = {
        field: sealed_credentials.check_credential(field, text)
        for field, text in (("api_key", api_key), ("api_secret", api_secret))
        if text or feed is None
    }
    try:
        with transaction.atomic():
            account = _locked(feed.pk) if feed else FeedAccount.objects.create(**fields)
            _change(account, fields, sealed)
            _audit(account, "feed_account.saved", actor)
    except IntegrityError as error:
        raise InvalidRequest(
            "Another active feed account has this name or is the primary",
            details={"role": "Only one active primary; make this one a spare."},
        ) from error
    return account


def _locked(feed_id: int) -> FeedAccount:
    """The current row, locked until the transaction ends."""
    feed = FeedAccount.objects.select_for_update(no_key=True).filter(pk=feed_id).first()
    if feed is None:
        raise NotFound
    return feed


def _change(account: FeedAccount, fields: dict[str, Any], plain: dict[str, str]) -> None:
    """Write only what differs: re-encryption may write the sealed values meanwhile."""
    changed = {field: new for field, new in fields.items() if getattr(account, field) != new}
    changed |= {
        field: sealed_credentials.seal(account, field, text) for field, text in plain.items()
    }
    if changed.keys() & {*plain, "broker", "client_id"}:
        changed |= {"access_token": "", "token_expires_at": None}
    for field, new in changed.items():
        setattr(account, field, new)
    account.save(update_fields=list(changed))


def feed_login_url(feed: FeedAccount, *, state: str) -> str:
    """The broker's login page for a feed account; BrokerNotEnabled (422) if it is not listed."""
    login_base = require_enabled(feed.broker).login
    return get_adapter(feed.broker).login_url(
        login_base, sealed_credentials.credentials_of(feed), state
    )


def start_feed_login(*, feed: FeedAccount, session_key: str, actor: Actor, now: dt.datetime) -> str:
    """Begin a login for the console session ``session_key``; returns the broker's URL.

    Earlier logins of this session at the same broker become void, so that an answer without a state
    (Zebu returns none) can mean only one login. BrokerNotEnabled (422).
    """
    state = secrets.token_urlsafe(32)
    url = feed_login_url(feed, state=state)
    session = crypto.fingerprint(session_key, purpose=_SESSION_PURPOSE)
    with transaction.atomic():
        FeedLogin.objects.filter(
            session_hash=session, feed__broker=feed.broker, used_at__isnull=True
        ).update(used_at=now)
        FeedLogin.objects.create(
            feed=feed,
            session_hash=session,
            state_hash=crypto.fingerprint(state, purpose=_STATE_PURPOSE),
            created_at=now,
            expires_at=now + dt.timedelta(seconds=FEED_LOGIN_SECONDS),
        )
        _audit(feed, "feed_account.login_started", actor)
    return url


def spend_feed_login(*, state: str, session_key: str, now: dt.datetime) -> FeedAccount:
    """Use up a begun login, once; returns the feed account for which it was begun.

    ``state`` is what the broker gave back; if it is empty, the login that this session has begun at
    such a broker is meant. FeedLoginLost (400) says what is wrong.
    """
    session = crypto.fingerprint(session_key, purpose=_SESSION_PURPOSE)
    pending = FeedLogin.objects.filter(used_at__isnull=True, session_hash=session)
    if state:
        pending = pending.filter(state_hash=crypto.fingerprint(state, purpose=_STATE_PURPOSE))
    logins = [
        login
        for login in pending.select_related("feed").order_by("-pk")[:10]
        if state or not get_adapter(login.feed.broker).capabilities.returns_login_state
    ]
    if len(logins) != 1:
        raise FeedLoginLost(_why_lost(state))
    with transaction.atomic(durable=True):
        spent = FeedLogin.objects.filter(pk=logins[0].pk, used_at__isnull=True).update(used_at=now)
    if not spent:
        raise FeedLoginLost(USED)
    if logins[0].expires_at <= now:
        raise FeedLoginLost(LATE)
    return logins[0].feed


USED: Final = "This login was already used. The account's page says whether it is logged in."
LATE: Final = f"The login took longer than {FEED_LOGIN_SECONDS // 60} minutes. Start it again."
ELSEWHERE: Final = (
    "This login was started in another browser, at another address of the console, or before you "
    "logged in to it again. Start it again here."
)
NOTHING_BEGUN: Final = "No login was started in this browser."


def _why_lost(state: str) -> str:
    if not state:
        return NOTHING_BEGUN
    hashed = crypto.fingerprint(state, purpose=_STATE_PURPOSE)
    known = FeedLogin.objects.filter(state_hash=hashed).first()
    if known is None:
        return NOTHING_BEGUN
    return USED if known.used_at else ELSEWHERE


def complete_feed_login(
    *, feed: FeedAccount, code: str, actor: Actor, now: dt.datetime
) -> FeedAccount:
    """Exchange a redirect's code for today's feed session.

    BrokerRejected (422) with the broker's text, BrokerUnavailable (503) without an answer,
    InvalidRequest (400) for an invalid code.
    """
    code = check_code(code.strip(), field="code")
    credentials = sealed_credentials.credentials_of(feed)
    result = exchange_code(feed.broker, credentials, code)
    if result.unknown:
        raise BrokerUnavailable("The broker did not answer; log in again")
    if result.error:
        raise BrokerRejected(
            result.error, broker_response={"code": "login_refused", "message": result.error}
        )
    expires = session_end(feed.broker, result, now)
    prove_owner(feed.broker, credentials, result)
    with transaction.atomic():
        locked = FeedAccount.objects.select_for_update(no_key=True).filter(pk=feed.pk).first()
        # Compared decrypted: the same secret may have been encrypted again under a newer key.
        if locked is None or not _is_unchanged(locked, feed.broker, credentials):
            raise BrokerUnavailable("The feed account changed during the login; log in again")
        FeedAccount.objects.filter(pk=feed.pk).update(
            access_token=sealed_credentials.seal(feed, "access_token", result.access_token),
            token_expires_at=expires,
        )
        _audit(feed, "feed_account.logged_in", actor)
    feed.refresh_from_db()
    return feed


def _is_unchanged(feed: FeedAccount, broker: str, credentials: Credentials) -> bool:
    try:
        return feed.broker == broker and sealed_credentials.credentials_of(feed) == credentials
    except CredentialsUnreadable:
        return False


def _audit(feed: FeedAccount, action: str, actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="feed_account",
        target_id=str(feed.pk),
        data={"name": feed.name, "broker": feed.broker, "client_id": feed.client_id},
    )
