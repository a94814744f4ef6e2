"""Reads that more than one interface or room needs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.db.models import QuerySet

from brokers import sealed_credentials
from brokers.base import BrokerInstrument as InstrumentName
from brokers.base import Session
from brokers.errors import AmbiguousClientId, CredentialsUnreadable
from brokers.models import CLIENT_ID_PATTERN, BrokerAccount, BrokerInstrument, BrokerKind
from brokers.readiness import UNREADABLE, readiness
from brokers.real_account import RealAccount
from brokers.registry import live_kinds
from partners.selectors import customer_keys
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.identifiers import ascii_lower, ascii_upper
from quantleap.core.large_lists import first_keys

_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)


def clean_client_id(client_id: str) -> str:
    """A client id in the brokers' spelling: without blanks, upper case; InvalidRequest
    otherwise."""
    cleaned = ascii_upper(client_id.strip())
    if not _CLIENT_ID.fullmatch(cleaned):
        raise InvalidRequest(
            "client_id is not a client id",
            details={"client_id": "A to Z, digits, dot, dash and underscore; at most 40."},
        )
    return cleaned


def clean_broker(name: str) -> str:
    """A broker's kind from what people type; InvalidRequest with the allowed ones."""
    kind = ascii_lower(name.strip())
    if kind not in live_kinds():
        allowed = ", ".join(live_kinds())
        raise InvalidRequest(
            f"Unknown broker; one of {allowed}", details={"broker_name": f"Must be {allowed}."}
        )
    return kind


def broker_names() -> dict[str, str]:
    """Kind to label of every real broker, in the order in which they are offered."""
    return {kind: BrokerKind(kind).label for kind in live_kinds()}


def accounts(
    partner_id: int | None, environment: str, *, customer_id: int | None = None
) -> QuerySet[BrokerAccount]:
    """A tenant's accounts that are not removed, newest first, with their customers."""
    rows = (
        BrokerAccount.objects.for_partner(partner_id, environment)
        .exclude(status=BrokerAccount.Status.REMOVED)
        .select_related("customer")
        .order_by("-created_at", "-id")
    )
    return rows if customer_id is None else rows.filter(customer_id=customer_id)


def account_by_client_id(
    partner_id: int | None,
    environment: str,
    client_id: str,
    *,
    broker: str = "",
    customer_id: int | None = None,
) -> BrokerAccount:
    """The tenant's account with this client id.

    NotFound (404) if there is none, AmbiguousClientId (409) if it exists at two brokers and
    ``broker`` does not decide.
    """
    matches = _with_client_id(partner_id, environment, client_id, customer_id)
    if broker:
        matches = matches.filter(broker=clean_broker(broker))
    rows = list(matches)
    if not rows:
        raise NotFound
    if len(rows) > 1:
        brokers = sorted(row.broker for row in rows)
        raise AmbiguousClientId(
            f"Say broker_name: {' or '.join(brokers)}",
            details={"broker_name": f"Must be {' or '.join(brokers)}."},
        )
    return rows[0]


def require_client_id(
    partner_id: int | None, environment: str, client_id: str, *, customer_id: int | None = None
) -> None:
    """NotFound unless the tenant has an account with this client id, at whatever broker.

    For routes whose body says more about the account: 404 comes before 400
    (docs/api/conventions.md#the-order-of-checks).
    """
    if not _with_client_id(partner_id, environment, client_id, customer_id).exists():
        raise NotFound


def _with_client_id(
    partner_id: int | None, environment: str, client_id: str, customer_id: int | None
) -> QuerySet[BrokerAccount]:
    try:
        cleaned = clean_client_id(client_id)
    except InvalidRequest as error:
        raise NotFound from error
    return accounts(partner_id, environment, customer_id=customer_id).filter(client_id=cleaned)


@dataclass(frozen=True, slots=True)
class TradingAccount:
    """An account decrypted for trading: its identity, its route, and its session if it has one.

    ``problem`` is a code of :func:`brokers.readiness.readiness`, empty if the account is ready.
    """

    account_id: int
    broker: str
    client_id: str
    environment: str
    egress: str
    session: Session | None
    problem: str

    @property
    def real(self) -> RealAccount:
        """The account at the broker behind this row."""
        return RealAccount(self.environment, self.broker, self.client_id)


def trading_accounts(account_ids: Iterable[int], now: dt.datetime) -> Mapping[int, TradingAccount]:
    """Accounts by id for arming, exits and book polling: one query for any number.

    A session is returned as long as its token lives, even of a disabled account: exits stay
    possible. An account that cannot be decrypted has no session and says so; the others are not
    affected.
    """
    rows = BrokerAccount.objects.filter(pk__in=list(account_ids))
    return {account.pk: _opened(account, now) for account in rows}


def _opened(account: BrokerAccount, now: dt.datetime) -> TradingAccount:
    problem = readiness(account, now).reason
    session, egress = None, ""
    try:
        egress = sealed_credentials.egress_of(account)
        session = sealed_credentials.session_of(account) if account.has_session(now) else None
    except CredentialsUnreadable:
        session, problem = None, problem or UNREADABLE
    return TradingAccount(
        account_id=account.pk,
        broker=account.broker,
        client_id=account.client_id,
        environment=account.environment,
        egress=egress,
        session=session,
        problem=problem,
    )


def instrument_names(broker: str, contract_ids: Iterable[int]) -> Mapping[int, InstrumentName]:
    """``broker``'s names for contracts, by our contract id: one query."""
    rows = BrokerInstrument.objects.filter(broker=broker, contract_id__in=list(contract_ids))
    return {row.contract_id: InstrumentName(row.exchange, row.symbol, row.token) for row in rows}


def account_keys(term: str) -> Iterable[int]:
    """Accounts whose client id begins with ``term``, for the search of lists."""
    return first_keys(BrokerAccount.objects.filter(client_id__startswith=ascii_upper(term)))


def customers_account_keys(term: str) -> Iterable[int]:
    """Accounts of the customers that match ``term``, for the search of lists."""
    owners = list(customer_keys(term))
    return first_keys(BrokerAccount.objects.filter(customer_id__in=owners)) if owners else ()


def connected_accounts(partner_id: int, environment: str) -> int:
    """The number of a partner's accounts that are connected to a broker, in one environment."""
    rows = BrokerAccount.objects.for_partner(partner_id, environment)
    return rows.exclude(status=BrokerAccount.Status.REMOVED).count()
