"""The daily login: a one-time state out, a code back, a token for the day."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from django.db import transaction

from brokers import sealed_credentials
from brokers.base import (
    Credentials,
    HttpRequest,
    HttpResponse,
    LoginResult,
    OwnerRead,
    Session,
)
from brokers.endpoints import endpoints, require_enabled
from brokers.errors import AccountNotUsable, BrokerRejected, BrokerUnavailable, InvalidState
from brokers.models import BrokerAccount, LoginAttempt
from brokers.paper.adapter import MOCK_CODE, PaperAdapter, PaperVenue
from brokers.registry import get_adapter
from brokers.services.audit_entries import record
from brokers.transport_sync import TransportError, send
from quantleap.core import crypto
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest
from quantleap.core.identifiers import ascii_upper
from quantleap.core.tenancy import Environment

log = structlog.get_logger(__name__)

STATE_SECONDS: Final = 300
_STATE_PURPOSE: Final = "broker-login-state"
_CODE: Final = re.compile(r"[\x21-\x7e]{1,500}")


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """Where the account holder logs in, and the state that must come back within ``expires_in``
    seconds. ``state`` is shown once."""

    oauth_url: str
    state: str
    expires_in: int = STATE_SECONDS


def initiate_login(
    *,
    account: BrokerAccount,
    redirect_uri: str,
    registered: Iterable[str],
    actor: Actor,
    now: dt.datetime,
) -> StartedLogin:
    """Begin a login. ``redirect_uri`` must be exactly one of ``registered`` (or empty).

    AccountNotUsable (409) if the account is switched off or has no credentials, BrokerNotEnabled
    (422) if this installation does not call that broker.
    """
    allowed = tuple(registered)
    if redirect_uri and redirect_uri not in allowed:
        raise InvalidRequest(
            "redirect_uri is not registered",
            details={"redirect_uri": "Must be exactly one of the partner's registered addresses."},
        )
    _require_usable(account)
    state = secrets.token_urlsafe(32)
    url = _login_page(account, state, redirect_uri or next(iter(allowed), ""))
    with transaction.atomic():
        LoginAttempt.objects.create(
            partner_id=account.partner_id,
            environment=account.environment,
            account=account,
            state_hash=crypto.fingerprint(state, purpose=_STATE_PURPOSE),
            redirect_uri=redirect_uri,
            created_at=now,
            expires_at=now + dt.timedelta(seconds=STATE_SECONDS),
        )
        record(account, "broker_login.started", actor)
    return StartedLogin(url, state)


def _login_page(account: BrokerAccount, state: str, redirect_uri: str) -> str:
    """The broker's page; in the test environment the partner's own, with a code."""
    credentials = sealed_credentials.credentials_of(account)
    if account.environment == Environment.TEST:
        target = redirect_uri or endpoints(account.broker).login
        extra = {"request_token": MOCK_CODE + secrets.token_hex(8), "state": state}
        parts = urlsplit(target)
        query = urlencode(parse_qsl(parts.query, keep_blank_values=True) + list(extra.items()))
        return urlunsplit(parts._replace(query=query))
    login_base = require_enabled(account.broker).login
    return get_adapter(account.broker).login_url(login_base, credentials, state)


def complete_login(
    *, account: BrokerAccount, code: str, state: str, actor: Actor, now: dt.datetime
) -> BrokerAccount:
    """Exchange ``code`` for today's token. The attempt spends the state, whatever follows.

    InvalidState (400) for a wrong, used, expired or foreign state; BrokerRejected (422) with the
    broker's text; BrokerUnavailable (503) if it did not answer: start again.
    """
    check_code(code, field="request_token")
    _require_usable(account)
    _spend_state(account, state, now)
    credentials = sealed_credentials.credentials_of(account)
    result = _exchange(account, credentials, code)
    if result.unknown:
        log.warning(
            "broker_login_unknown",
            account=account.pk,
            broker=account.broker,
            reason=result.error,
        )
        raise BrokerUnavailable("The broker did not answer; start the login again")
    if result.error:
        raise BrokerRejected(
            result.error, broker_response={"code": "login_refused", "message": result.error}
        )
    expires = session_end(account.broker, result, now)
    prove_owner(account.broker, credentials, result, egress=sealed_credentials.egress_of(account))
    _store_token(account, result.access_token, expires, actor, now)
    account.refresh_from_db()
    return account


def session_end(broker: str, result: LoginResult, now: dt.datetime) -> dt.datetime:
    """When the session of a successful login ends: at the broker's hour, or sooner if it says so.

    BrokerRejected (422) for a session that has already ended.
    """
    expires = result.expiry(now, get_adapter(broker).token_expiry(now))
    if expires <= now:
        message = "The broker returned an expired session"
        raise BrokerRejected(message, broker_response={"code": "session_over", "message": message})
    return expires


def prove_owner(
    broker: str, credentials: Credentials, result: LoginResult, *, egress: str = ""
) -> None:
    """Make sure that a new session belongs to ``credentials.client_id``, before anybody stores it.

    If the token answer names no owner, ask for it. BrokerRejected (422) if it is somebody else or
    the broker does not say, BrokerUnavailable (503) without an answer.
    """
    client_id = result.client_id
    if not client_id:
        owner = ask_owner(broker, credentials, result.access_token, egress=egress)
        if owner.unknown:
            log.warning("broker_login_owner_unknown", broker=broker, reason=owner.error)
            raise BrokerUnavailable("The broker did not say whose login it was; start again")
        if owner.error:
            raise BrokerRejected(
                owner.error, broker_response={"code": "login_refused", "message": owner.error}
            )
        client_id = owner.client_id
    if ascii_upper(client_id) != credentials.client_id:
        message = "The broker logged in another client id than this account's"
        raise BrokerRejected(message, broker_response={"code": "other_client", "message": message})


def ask_owner(
    broker: str, credentials: Credentials, access_token: str, *, egress: str = ""
) -> OwnerRead:
    """The owner of the session ``access_token``, according to the broker."""
    adapter = get_adapter(broker)
    session = Session(credentials.client_id, credentials.api_key, access_token)
    try:
        response = send(adapter.owner(session), base_url=require_enabled(broker).api, egress=egress)
    except TransportError as error:
        return OwnerRead(unknown=True, error=error.message)
    return adapter.parse_owner(response)


def check_code(code: str, *, field: str) -> str:
    """``code`` if it can be a broker's login code; otherwise InvalidRequest naming ``field``."""
    if not _CODE.fullmatch(code):
        raise InvalidRequest(
            f"{field} is missing or malformed", details={field: "Not a login code."}
        )
    return code


def _require_usable(account: BrokerAccount) -> None:
    if account.status != BrokerAccount.Status.ENABLED or account.removal_requested_at is not None:
        raise AccountNotUsable(
            f"The account is {account.status.replace('_', ' ')}", status=account.status
        )


def _spend_state(account: BrokerAccount, state: str, now: dt.datetime) -> None:
    """Use the state up: only the UPDATE that changes a row may continue."""
    with transaction.atomic(durable=True):
        spent = LoginAttempt.objects.filter(
            account_id=account.pk,
            partner_id=account.partner_id,
            environment=account.environment,
            state_hash=crypto.fingerprint(state, purpose=_STATE_PURPOSE),
            used_at__isnull=True,
            expires_at__gt=now,
        ).update(used_at=now)
    if spent != 1:
        raise InvalidState(details={"state": "Wrong, already used or older than 300 seconds."})


def _exchange(account: BrokerAccount, credentials: Credentials, code: str) -> LoginResult:
    """One token call, outside any transaction. The test environment never leaves the process."""
    if account.environment == Environment.TEST:
        paper = PaperAdapter()
        venue = PaperVenue(lambda instrument: None)
        return paper.parse_token(venue.answer(paper.token_request(credentials, code)))
    return exchange_code(
        account.broker, credentials, code, egress=sealed_credentials.egress_of(account)
    )


def exchange_code(
    broker: str, credentials: Credentials, code: str, *, egress: str = ""
) -> LoginResult:
    """The broker's answer to a token request; ``unknown`` if there was no readable one."""
    base_url = require_enabled(broker).api
    adapter = get_adapter(broker)
    request: HttpRequest = adapter.token_request(credentials, code)
    try:
        response: HttpResponse = send(request, base_url=base_url, egress=egress)
    except TransportError as error:
        return LoginResult(unknown=True, error=error.message)
    return adapter.parse_token(response)


def _store_token(
    account: BrokerAccount, token: str, expires: dt.datetime, actor: Actor, now: dt.datetime
) -> None:
    """Store the token if the account has not changed since the login began."""
    with transaction.atomic():
        locked = BrokerAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        # Compared decrypted: the same secret may have been encrypted again under a newer key.
        if locked.status != BrokerAccount.Status.ENABLED or sealed_credentials.credentials_of(
            locked
        ) != sealed_credentials.credentials_of(account):
            raise AccountNotUsable("The account changed during the login; start again")
        BrokerAccount.objects.filter(pk=account.pk).update(
            access_token=sealed_credentials.seal(account, "access_token", token),
            token_expires_at=expires,
            token_expiry_told_at=None,
            last_login_at=now,
            updated_at=now,
        )
        record(account, "broker_login.completed", actor)
