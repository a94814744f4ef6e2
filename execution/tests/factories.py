"""Many customers, accounts and subscriptions at once, for whole days and measurements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.registry import get_adapter
from marketplace.models import Template
from partners.models import Customer, Partner
from quantleap.core import clock
from quantleap.core.tenancy import Environment
from subscriptions.models import Allocation, Subscription

API_KEY = "apikey"
TokenOf = Callable[[str, str], str]


def make_partner(slug: str = "zebu") -> Partner:
    """The partner of that slug, made if need be."""
    partner, _ = Partner.objects.get_or_create(
        slug=slug, defaults={"name": slug.title(), "default_broker": "zebu"}
    )
    return partner


def make_accounts(
    count: int,
    *,
    partner: Partner | None = None,
    brokers: Sequence[str] = ("zebu",),
    environment: str = Environment.LIVE,
    prefix: str = "C",
    now: dt.datetime | None = None,
) -> list[BrokerAccount]:
    """``count`` customers with one enabled account each, the brokers in turn."""
    at = now or clock.now()
    partner_id = partner.pk if partner else None
    customers = Customer.objects.bulk_create(
        Customer(
            partner_id=partner_id,
            environment=environment,
            email=f"{prefix.lower()}{number}@example.com",
            name=f"Customer {number}",
            created_at=at,
        )
        for number in range(count)
    )
    accounts = BrokerAccount.objects.bulk_create(
        BrokerAccount(
            partner_id=partner_id,
            environment=environment,
            customer=customer,
            broker=brokers[number % len(brokers)],
            client_id=f"{prefix}{number:05d}".upper(),
            status=BrokerAccount.Status.ENABLED,
            created_at=at,
            updated_at=at,
        )
        for number, customer in enumerate(customers)
    )
    for account in accounts:  # sealed with their own ids
        account.api_key = sealed_credentials.seal(account, "api_key", API_KEY)
        account.api_secret = sealed_credentials.seal(
            account, "api_secret", f"secret-{account.client_id}"
        )
    BrokerAccount.objects.bulk_update(accounts, ["api_key", "api_secret"], batch_size=500)
    return accounts


def log_in(accounts: Sequence[BrokerAccount], token_of: TokenOf, now: dt.datetime) -> None:
    """Give every account a session; ``token_of(broker, client_id)`` says its token."""
    for account in accounts:
        token = token_of(account.broker, account.client_id)
        account.access_token = sealed_credentials.seal(account, "access_token", token)
        account.token_expires_at = get_adapter(account.broker).token_expiry(now)
        account.last_login_at = now
    BrokerAccount.objects.bulk_update(
        accounts, ["access_token", "token_expires_at", "last_login_at"], batch_size=500
    )


def subscribe_accounts(
    template: Template,
    accounts: Sequence[BrokerAccount],
    *,
    multipliers: Sequence[Decimal] = (Decimal(1),),
    now: dt.datetime | None = None,
) -> list[Subscription]:
    """One active subscription with one allocation for each account, the multipliers in turn."""
    at = now or clock.now()
    subscriptions = Subscription.objects.bulk_create(
        Subscription(
            partner_id=account.partner_id,
            environment=account.environment,
            customer_id=account.customer_id,
            template=template,
            monthly_fee=Decimal(0),
            anchor=clock.ist_date(at),
            status_changed_at=at,
            created_at=at,
        )
        for account in accounts
    )
    Allocation.objects.bulk_create(
        Allocation(
            partner_id=account.partner_id,
            environment=account.environment,
            subscription=subscription,
            account=account,
            lot_multiplier=multipliers[number % len(multipliers)],
            created_at=at,
        )
        for number, (account, subscription) in enumerate(zip(accounts, subscriptions, strict=True))
    )
    return subscriptions
