"""Two partners, two environments, several customers: data and money of all tenants side by side."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import connection

from brokers.models import BrokerAccount
from brokers.tests.factories import make_account
from execution.tests.rows import make_execution, make_run
from marketplace.models import Template
from marketplace.tests.factories import leg_spec, load_reference_data, make_template
from partners import permissions
from partners.models import Customer, Partner, PartnerKey
from partners.services import mint_user_token
from partners.tests.factories import (
    key_headers,
    make_customer,
    make_key,
    make_partner,
    minting_key,
)
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.tenancy import Environment
from subscriptions import services
from subscriptions.billing.invoicing import documents
from subscriptions.billing.tests.factories import HOME, bill, credit, load_billing, pay
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

Headers = Mapping[str, str]
BACK = "https://partner.example/back"
ROOMS = ("core", "marketplace", "partners", "brokers", "subscriptions", "billing", "execution")


@dataclass(slots=True)
class Side:
    """One customer of one tenant (partner None: a direct one) and their objects.

    ``offered`` is a template that they may see and have not subscribed to. ``ids`` holds one id of
    every kind that a path may have; there is no invoice in the test environment, which is never
    billed.
    """

    partner: Partner | None
    environment: str
    customer: Customer
    account: BrokerAccount
    subscription: Subscription
    offered: Template
    ids: dict[str, str]


def make_side(
    partner: Partner | None, environment: str = Environment.LIVE, *, secluded: bool = True
) -> Side:
    """A customer with a connected account, a subscription and an execution of it.

    ``secluded``: only this partner (in its environment) may see the templates; otherwise they are
    public.
    """
    customer = make_customer(partner, environment=environment)
    customer.state = HOME
    customer.external_user_id = f"own-{customer.pk}"
    customer.save()
    account = make_account(customer)
    visible: dict[str, Any] = {}
    if secluded and partner is not None:
        visible = {"visibility": Template.Visibility.PARTNERS, "visible_to": [partner.pk]}
    followed, offered = (make_template(environment=environment, **visible) for _ in range(2))
    subscription = make_subscription(
        followed, partner, email=customer.email, client_id=account.client_id
    )
    make_execution(make_run(followed), subscription, "CLOSED")
    ids = {
        "subscription_id": subscription.public_id,
        "allocation_id": subscription.allocations.get().public_id,
        "client_id": account.client_id,
        "template_id": offered.public_id,
        "user_id": customer.public_id,
    }
    return Side(partner, environment, customer, account, subscription, offered, ids)


@dataclass(slots=True)
class Dataset:
    """``me`` is the caller; ``strangers`` own what the caller must not see.

    ``scaled`` is a template with legs of two and three lots, for which most multipliers are
    invalid.
    """

    me: Side
    neighbour: Side
    strangers: Mapping[str, Side]
    scaled: Template
    partner_headers: Headers
    user_headers: Headers
    secrets: tuple[str, ...] = field(repr=False)

    def headers(self, surface: str) -> Headers:
        """Good credentials for a surface."""
        return {"partner": self.partner_headers, "user": self.user_headers}.get(surface, {})

    def foreign_ids(self, surface: str, name: str) -> dict[str, str]:
        """Ids of that kind which the caller of a surface must not find, by owner."""
        sides = dict(self.strangers)
        if surface == "user" and name != "template_id":  # a partner sees all its own customers
            sides["another customer"] = self.neighbour
        if name == "template_id":  # his are public
            sides.pop("direct customer")
        return {whose: side.ids[name] for whose, side in sides.items() if name in side.ids}


def make_dataset() -> Dataset:
    """All of it, in one database."""
    load_reference_data()
    load_billing()
    mine, other = (make_partner(oauth_redirect_urls=[BACK]) for _ in range(2))
    me, neighbour = (make_side(mine, secluded=False) for _ in range(2))
    strangers = {
        "another partner": make_side(other),
        "the other environment": make_side(mine, Environment.TEST),
        "another partner's other environment": make_side(other, Environment.TEST),
        "direct customer": make_side(None),
    }
    bill(clock.ist_date(clock.now()))
    for side in (me, neighbour, *strangers.values()):
        if side.environment == Environment.LIVE:
            settle(side)
    issued = make_key(mine)
    token = user_token(me.customer)
    scaled = make_template(legs=(leg_spec(lots=2), leg_spec(option_type="PE", lots=3)))
    secrets = (issued.secret, token, f"secret-{me.account.client_id}")
    headers = key_headers(issued), bearer(token)
    return Dataset(me, neighbour, strangers, scaled, *headers, secrets)


def settle(side: Side) -> None:
    """Their invoice, overpaid, partly credited and refunded, and both documents."""
    invoice = side.subscription.invoices.get()
    pay(invoice, invoice.total + 100)
    note = credit(invoice, Decimal(500)).note
    documents.invoice_pdf(invoice)
    documents.credit_note_pdf(note)
    side.ids["invoice_id"] = invoice.public_id


def bearer(token: str) -> Headers:
    """A customer's header."""
    return {"Authorization": f"Bearer {token}"}


def make_debt(side: Side) -> Template:
    """A template whose subscription they have cancelled without paying."""
    template, now = make_template(), clock.now()
    unpaid = make_subscription(
        template, side.partner, email=side.customer.email, client_id=side.account.client_id
    )
    bill(clock.ist_date(now))
    services.cancel(subscription_id=unpaid.pk, actor=SYSTEM, reason="USER", now=now)
    return template


def user_token(
    customer: Customer,
    now: dt.datetime | None = None,
    granted: Iterable[str] = permissions.ALL,
) -> str:
    """A token of the customer, fresh unless ``now`` says otherwise, of a key with this
    permission."""
    return mint_user_token(
        partner_id=customer.partner_id,
        environment=customer.environment,
        email=customer.email,
        key_id=minting_key(customer, granted),
        actor=SYSTEM,
        now=now or clock.now(),
    ).token


def lacks(dataset: Dataset, permission: str, by_token: bool) -> Headers:
    """A key with all permissions except this one, or a customer's token that such a key issued."""
    assert dataset.me.partner is not None
    granted = [name for name in permissions.ALL if name != permission]
    if by_token:
        return bearer(user_token(dataset.me.customer, granted=granted))
    return key_headers(make_key(dataset.me.partner, permissions=granted))


def ended_key(partner: Partner, **changes: object) -> Headers:
    """A key that was valid until its row was changed."""
    issued = make_key(partner)
    PartnerKey.objects.filter(key=issued.key).update(**changes)
    return key_headers(issued)


def fingerprint() -> dict[str, tuple[int, str]]:
    """Row count and checksum of every table; equal only if nothing at all has changed.

    The time at which a secret was last used does not count.
    """
    tables = [
        model._meta.db_table for room in ROOMS for model in apps.get_app_config(room).get_models()
    ]
    rows = " UNION ALL ".join(
        f"SELECT '{table}', count(*), md5(coalesce(string_agg(row, '' ORDER BY row), ''))"
        f" FROM (SELECT (to_jsonb(t) - 'last_used_at')::text AS row FROM {table} AS t) AS {table}"
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(rows)
        return {table: (count, checksum) for table, count, checksum in cursor.fetchall()}
