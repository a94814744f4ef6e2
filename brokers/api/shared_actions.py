"""Actions that partner and customer routes share: call the service, answer with the same
members."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from brokers.api.serializers import (
    AccountAnswer,
    AccountListAnswer,
    CallbackAnswer,
    InitiateAnswer,
    RemovalAnswer,
    account_row,
    wall_clock,
)
from brokers.models import BrokerAccount
from brokers.selectors import clean_broker
from brokers.services.accounts import Connected, remove_account
from brokers.services.login import complete_login, initiate_login
from quantleap.core.api.pagination import paginate
from quantleap.core.audit import Actor

#: Values of ``?open_positions=`` of a removal.
_OPEN_POSITIONS: Final = ("EXIT_NOW",)
#: Query parameters of the actions on one account.
RETRIEVE_QUERY: Final = frozenset({"broker_name"})
DESTROY_QUERY: Final = frozenset({"broker_name", "open_positions"})


def broker_asked(request: Request) -> str:
    """``?broker_name=``; empty if it is absent. InvalidRequest for an unknown one."""
    name = request.query_params.get("broker_name")
    return "" if name is None else clean_broker(name)


def listed(request: Request, accounts: Any, now: dt.datetime) -> Response:
    """A page of accounts."""
    rows, pagination = paginate(request, accounts)
    answer = {
        "statusCode": 200,
        "broker_accounts": [account_row(row, now) for row in rows],
        "pagination": pagination,
    }
    return Response(AccountListAnswer(answer).data)


def shown(account: BrokerAccount, now: dt.datetime) -> Response:
    """One account."""
    return _account(account, 200, "Broker account", now)


def connected(result: Connected, now: dt.datetime, **more: Any) -> Response:
    """201 for a new account, 200 for new credentials of an existing one; ``more`` members."""
    if result.created:
        message, status = "Broker account connected successfully", 201
    else:
        message, status = "Broker account credentials updated", 200
    # no supported broker can confirm credentials before the first login
    return _account(result.account, status, message, now, credentials_checked=False, **more)


def _account(
    account: BrokerAccount, status: int, message: str, now: dt.datetime, **more: Any
) -> Response:
    answer = {
        "statusCode": status,
        "success": True,
        "message": message,
        **more,
        "broker_account": account_row(account, now),
    }
    return Response(AccountAnswer(answer).data, status=status)


def removed(request: Request, account: BrokerAccount, actor: Actor, now: dt.datetime) -> Response:
    """Erase the credentials, or begin an exit first. Refuse a body, which would be ignored
    silently."""
    if request.data:
        raise ValidationError({"body": "DELETE takes query parameters, no body."})
    wish = request.query_params.get("open_positions")
    if wish is not None and wish not in _OPEN_POSITIONS:
        raise ValidationError({"open_positions": f"Must be {' or '.join(_OPEN_POSITIONS)}."})
    effect = remove_account(account=account, exit_now=wish is not None, actor=actor, now=now)
    if effect.deferred:
        message = "Open positions are being exited; credentials are erased after the last exit"
    else:
        message = "Broker account removed"
    answer = {
        "statusCode": 200,
        "success": True,
        "message": message,
        "credentials_erased": not effect.deferred,
        "next_entry_affected": effect.next_entry_affected,
    }
    return Response(RemovalAnswer(answer).data)


def initiated(
    account: BrokerAccount,
    redirect_uri: str,
    registered: Iterable[str],
    actor: Actor,
    now: dt.datetime,
) -> Response:
    """The address of the login page."""
    started = initiate_login(
        account=account, redirect_uri=redirect_uri, registered=registered, actor=actor, now=now
    )
    answer = {
        "statusCode": 200,
        "success": True,
        "oauth_url": started.oauth_url,
        "state": started.state,
        "expires_in": started.expires_in,
    }
    return Response(InitiateAnswer(answer).data)


def completed(
    account: BrokerAccount, code: str, state: str, actor: Actor, now: dt.datetime
) -> Response:
    """Today's session."""
    logged_in = complete_login(account=account, code=code, state=state, actor=actor, now=now)
    expires = logged_in.token_expires_at
    answer = {
        "statusCode": 200,
        "success": True,
        "message": "Broker login completed",
        "token_expires_at": expires,
        "valid_until": wall_clock(expires) if expires else "",
    }
    return Response(CallbackAnswer(answer).data)
