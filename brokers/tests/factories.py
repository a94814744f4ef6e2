"""Broker accounts, logins, feeds and contracts for tests; other rooms' tests use them too."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

from brokers import sealed_credentials
from brokers.models import BrokerAccount, BrokerInstrument, FeedAccount
from brokers.registry import get_adapter
from brokers.services.accounts import connect_account
from brokers.services.feeds import save_feed_account
from marketplace.models import Contract, LotSize, Underlying
from partners.models import Customer
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

_numbers = itertools.count(10001)


def make_account(
    customer: Customer,
    broker: str = "zebu",
    client_id: str = "",
    *,
    logged_in: bool = False,
    now: dt.datetime | None = None,
) -> BrokerAccount:
    """An enabled account with credentials; with today's session if ``logged_in``."""
    at = now or clock.now()
    client = client_id or f"C{next(_numbers)}"
    account = connect_account(
        customer=customer,
        broker=broker,
        client_id=client,
        api_key=f"key-{client}",
        api_secret=f"secret-{client}",
        actor=SYSTEM,
        now=at,
    ).account
    if logged_in:
        give_session(account, at)
    return account


def give_session(
    account: BrokerAccount, now: dt.datetime, *, expires: dt.datetime | None = None
) -> None:
    """A living token without asking a broker."""
    account.access_token = sealed_credentials.seal(
        account, "access_token", f"token-{account.client_id}"
    )
    account.token_expires_at = expires or get_adapter(account.broker).token_expiry(now)
    account.last_login_at = now
    account.save()


def make_feed(
    name: str = "feed",
    broker: str = "zerodha",
    role: str = FeedAccount.Role.PRIMARY,
    *,
    client_id: str = "",
    app: str = "",
    logged_in: bool = True,
    now: dt.datetime | None = None,
) -> FeedAccount:
    """A feed account, logged in unless told otherwise; ``app`` is its application's key."""
    feed = save_feed_account(
        name=name,
        broker=broker,
        role=role,
        client_id=client_id or f"F{next(_numbers)}",
        api_key=app or f"key-{name}",
        api_secret=f"secret-{app or name}",
        actor=SYSTEM,
    )
    if logged_in:
        feed.access_token = sealed_credentials.seal(feed, "access_token", f"token-{name}")
        feed.token_expires_at = get_adapter(broker).token_expiry(now or clock.now())
        feed.save()
    return feed


def make_contract(
    underlying: str = "NIFTY",
    expiry: dt.date = dt.date(2026, 8, 25),
    strike: int = 24400,
    option_type: str = "CE",
    lot_size: int = 65,
) -> Contract:
    """A contract with its lot size and both brokers' names."""
    index, _ = Underlying.objects.get_or_create(
        symbol=underlying, defaults={"name": underlying, "exchange": "NFO"}
    )
    token = str(next(_numbers))
    contract = Contract.objects.create(
        underlying=index,
        exchange="NFO",
        expiry=expiry,
        strike=Decimal(strike),
        option_type=option_type,
        tick_size=Decimal("0.05"),
        exchange_token=token,
        first_seen=dt.date(2026, 1, 1),
        last_seen=dt.date(2026, 8, 18),
    )
    LotSize.objects.create(
        contract=contract, effective_from=dt.date(2026, 1, 1), lot_size=lot_size, source="test"
    )
    symbols = {
        "zerodha": f"{underlying}{expiry:%y%b}".upper() + f"{strike}{option_type}",
        "zebu": f"{underlying}{expiry:%d%b%y}".upper() + f"{option_type[0]}{strike}",
    }
    for broker, symbol in symbols.items():
        BrokerInstrument.objects.create(
            broker=broker,
            contract=contract,
            exchange="NFO",
            symbol=symbol,
            token=token,
            last_seen=dt.date(2026, 8, 18),
        )
    return contract
