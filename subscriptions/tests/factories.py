"""Subscriptions for tests, one by one through the service or by the thousand; for all rooms."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, models

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.registry import get_adapter
from marketplace.models import Template
from marketplace.selectors import price_in_force
from marketplace.services import adjust_subscriber_count
from partners.models import Customer, Partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.models import Allocation, Subscription
from subscriptions.ports import BILLING

_numbers = itertools.count(1)


def make_subscription(
    template: Template,
    partner: Partner | None = None,
    *,
    email: str = "",
    client_id: str = "",
    broker: str = "zebu",
    lot_multiplier: Decimal | int | str = 1,
    priority: int = 1,
    max_lots_per_order: int | None = None,
    now: dt.datetime | None = None,
    **options: Any,
) -> Subscription:
    """One live subscription through the service, its account linked without credentials.

    Of a customer in Tamil Nadu, unless ``user_state`` says otherwise.
    """
    number = next(_numbers)
    options.setdefault("user_state", "33")
    return services.subscribe(
        partner_id=partner.pk if partner else None,
        environment=template.environment,
        template_id=template.public_id,
        user_email=email or f"follower{number}@example.com",
        accounts=[
            services.AccountChoice(
                client_id=client_id or f"S{number:05}",
                broker=broker,
                lot_multiplier=Decimal(lot_multiplier),
                priority=priority,
                max_lots_per_order=max_lots_per_order,
            )
        ],
        actor=SYSTEM,
        now=now or clock.now(),
        **options,
    )


@dataclass(frozen=True, slots=True)
class Follower:
    """Everything of one subscriber."""

    customer: Customer
    account: BrokerAccount
    subscription: Subscription
    allocation: Allocation


def subscribe_many(
    template: Template,
    count: int,
    partner: Partner | None = None,
    *,
    broker: str = "zebu",
    lot_multiplier: Decimal | int | str = 1,
    max_lots_per_order: int | None = None,
    logged_in: bool = True,
    client_ids: Sequence[str] = (),
    tokens: Sequence[str] = (),
    now: dt.datetime | None = None,
) -> list[Follower]:
    """``count`` new customers with enabled accounts and live subscriptions: seven INSERTs a batch.

    ``client_ids`` and ``tokens`` (today's access tokens) are used in order where given, as a
    simulator knows them. Without ``logged_in`` the accounts have credentials but no session.
    The template's counter follows; nobody is told.
    """
    at = now or clock.now()
    partner_id = partner.pk if partner else None
    owner: dict[str, Any] = {"partner_id": partner_id, "environment": template.environment}
    numbers = [next(_numbers) for _ in range(count)]
    customers = Customer.objects.bulk_create(
        [
            Customer(**owner, email=f"many{n}@example.com", state="33", created_at=at)
            for n in numbers
        ],
        batch_size=2000,
    )
    names = list(client_ids) or [f"M{n:06}" for n in numbers]
    accounts = [
        BrokerAccount(
            pk=key,
            **owner,
            customer=customer,
            broker=broker,
            client_id=name,
            status=BrokerAccount.Status.ENABLED,
            created_at=at,
            updated_at=at,
        )
        for key, customer, name in zip(
            _keys(BrokerAccount, count), customers, names[:count], strict=True
        )
    ]
    expiry = get_adapter(broker).token_expiry(at)
    for index, account in enumerate(accounts):
        name = account.client_id
        account.api_key = sealed_credentials.seal(account, "api_key", f"key-{name}")
        account.api_secret = sealed_credentials.seal(account, "api_secret", f"secret-{name}")
        if logged_in:
            token = tokens[index] if tokens else f"token-{name}"
            account.access_token = sealed_credentials.seal(account, "access_token", token)
            account.token_expires_at = expiry
            account.last_login_at = at
    BrokerAccount.objects.bulk_create(accounts, batch_size=2000)
    price = price_in_force(template.pk, partner_id, clock.ist_date(at))
    subscriptions = Subscription.objects.bulk_create(
        [
            Subscription(
                **owner,
                customer=customer,
                template=template,
                price=price,
                monthly_fee=price.monthly_fee if price else Decimal(0),
                partner_bps=3000 if partner else 0,
                anchor=clock.ist_date(at),
                status_changed_at=at,
                created_at=at,
            )
            for customer in customers
        ],
        batch_size=2000,
    )
    allocations = Allocation.objects.bulk_create(
        [
            Allocation(
                **owner,
                subscription=subscription,
                account=account,
                lot_multiplier=Decimal(lot_multiplier),
                max_lots_per_order=max_lots_per_order,
                created_at=at,
            )
            for subscription, account in zip(subscriptions, accounts, strict=True)
        ],
        batch_size=2000,
    )
    services.copy_shares(subscriptions)
    BILLING.get().open_segments(subscriptions)
    adjust_subscriber_count(template_id=template.pk, delta=count)
    rows = zip(customers, accounts, subscriptions, allocations, strict=True)
    return [Follower(*row) for row in rows]


def _keys(model: type[models.Model], count: int) -> list[int]:
    """Fresh primary keys: sealing needs the row's key before the row is written."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return [int(row[0]) for row in cursor.fetchall()]
