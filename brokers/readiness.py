"""Whether a broker account could trade the next entry, of one row and as a column of a query.

Both are the same rule: a test compares them over every combination.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.db.models import Case, CharField, Expression, F, Func, Q, TextField, Value, When
from django.db.models.lookups import In

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from quantleap.core import crypto

REMOVAL_REQUESTED: Final = "removal_requested"
HELD: Final = "held"
UNREADABLE: Final = "credentials_unreadable"
NO_LOGIN: Final = "no_login_today"
EXPIRED: Final = "session_expired"
#: Why an account is not ready: a status other than enabled, or one of these.
REASONS: Final = (
    BrokerAccount.Status.DISABLED.value,
    BrokerAccount.Status.NEEDS_CREDENTIALS.value,
    BrokerAccount.Status.REMOVED.value,
    REMOVAL_REQUESTED,
    HELD,
    UNREADABLE,
    NO_LOGIN,
    EXPIRED,
)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether an account could trade the next entry, and why not (a stable code)."""

    ready: bool
    reason: str = ""


def readiness(account: BrokerAccount, now: dt.datetime) -> Readiness:
    """Readiness according to the account alone, without subscriptions and kill switches."""
    if account.removal_requested_at is not None:
        return Readiness(False, REMOVAL_REQUESTED)
    if account.status != BrokerAccount.Status.ENABLED:
        return Readiness(False, account.status)
    if account.held:
        return Readiness(False, HELD)
    if not sealed_credentials.is_readable(account):
        return Readiness(False, UNREADABLE)
    if not account.access_token:
        return Readiness(False, NO_LOGIN)
    if not account.has_session(now):
        return Readiness(False, EXPIRED)
    return Readiness(True)


def not_ready_reason(now: dt.datetime, *, prefix: str = "") -> Expression:
    """The reason of :func:`readiness` as a column, empty for a ready account.

    ``prefix`` leads to the account (``account__``). A value that was sealed for another row, which
    only decrypting shows, counts as readable here.
    """

    def column(**conditions: object) -> Q:
        return Q(**{prefix + name: value for name, value in conditions.items()})

    unreadable = Q()
    for field in sealed_credentials.SEALED:
        key_id = Func(
            *(F(prefix + field), Value(":"), Value(2)),
            function="split_part",
            output_field=TextField(),
        )
        unreadable |= ~column(**{field: ""}) & ~Q(In(key_id, list(crypto.key_ring().keys)))
    return Case(
        When(column(removal_requested_at__isnull=False), then=Value(REMOVAL_REQUESTED)),
        When(~column(status=BrokerAccount.Status.ENABLED), then=F(prefix + "status")),
        When(column(held=True), then=Value(HELD)),
        When(unreadable, then=Value(UNREADABLE)),
        When(column(access_token=""), then=Value(NO_LOGIN)),
        When(
            column(token_expires_at__isnull=True) | column(token_expires_at__lte=now),
            then=Value(EXPIRED),
        ),
        default=Value(""),
        output_field=CharField(),
    )
