"""Partners, keys and customers for tests; other rooms' tests use them too."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rest_framework.test import APIClient

from partners import permissions as known
from partners.api_keys import new_key
from partners.identity import find_or_create_customer
from partners.models import PER_DAY_RANGE, PER_MINUTE_RANGE, Customer, Partner, PartnerKey
from partners.services import (
    KEY_LIFETIME,
    IssuedKey,
    issue_key,
    mint_user_token,
)
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.tenancy import Environment

_numbers = itertools.count(1)
#: More requests than any test makes: the limiter runs, and refuses none of them.
MANY: Final[Mapping[str, Any]] = {
    "requests_per_minute": PER_MINUTE_RANGE[1],
    "requests_per_day": PER_DAY_RANGE[1],
}


def make_partner(slug: str = "", **fields: object) -> Partner:
    """An active broker partner; a fresh slug unless one is given."""
    slug = slug or f"p{next(_numbers)}"
    values: dict[str, object] = {"name": slug.title(), "default_broker": "zebu", **fields}
    return Partner.objects.create(slug=slug, **values)


def make_key(
    partner: Partner,
    environment: str = Environment.LIVE,
    permissions: Iterable[str] = known.ALL,
    now: dt.datetime | None = None,
    **limits: Any,
) -> IssuedKey:
    """A working key with every permission, and for as many requests as a test may make, unless
    told otherwise."""
    return issue_key(
        partner_id=partner.pk,
        environment=environment,
        permissions=permissions,
        actor=SYSTEM,
        now=now or clock.now(),
        **{**MANY, **limits},
    )


def make_customer(
    partner: Partner | None,
    email: str = "",
    environment: str = Environment.LIVE,
    *,
    state: str | None = None,
) -> Customer:
    """A customer of a partner (None: a direct one); ``state`` as it may stand in old rows.

    Not given: what is there, else Tamil Nadu; empty: nobody knows it.
    """
    customer = find_or_create_customer(
        partner_id=partner.pk if partner else None,
        environment=environment,
        email=email or f"user{next(_numbers)}@example.com",
        now=clock.now(),
    )
    chosen = (customer.state or "33") if state is None else state
    if chosen != customer.state:
        customer.state = chosen
        customer.save(update_fields=["state"])
    return customer


def key_headers(issued: IssuedKey) -> dict[str, str]:
    """The two headers of a partner's request."""
    return {"Authorization": f"Bearer {issued.key}", "X-Partner-Secret": issued.secret}


def partner_client(issued: IssuedKey) -> APIClient:
    """A client that sends a key's headers; crashes answer 500 as they would on the wire."""
    client = APIClient(headers=key_headers(issued), raise_request_exception=False)
    client.default_format = "json"
    return client


def minting_key(customer: Customer, permissions: Iterable[str] = known.ALL) -> int | None:
    """The id of a key of the customer's partner with which to issue a token; none for a direct
    customer.

    Without a secret: nobody calls with it, which saves a bcrypt.
    """
    if customer.partner_id is None:
        return None
    partner = Partner.objects.get(pk=customer.partner_id)
    return PartnerKey.objects.create(
        partner=partner,
        environment=customer.environment,
        key=new_key(partner.slug, customer.environment),
        permissions=sorted(permissions),
        **MANY,
        expires_at=clock.now() + KEY_LIFETIME,
    ).pk


def customer_client(customer: Customer, permissions: Iterable[str] = known.ALL) -> APIClient:
    """A client with a customer's own fresh token, of a key with these permissions."""
    minted = mint_user_token(
        key_id=minting_key(customer, permissions),
        partner_id=customer.partner_id,
        environment=customer.environment,
        email=customer.email,
        actor=SYSTEM,
        now=clock.now(),
    )
    headers = {"Authorization": f"Bearer {minted.token}"}
    client = APIClient(headers=headers, raise_request_exception=False)
    client.default_format = "json"
    return client


@dataclass(frozen=True, slots=True)
class Tenant:
    """One partner in one environment, with a client that has every permission there."""

    partner: Partner
    environment: str
    key: IssuedKey
    client: APIClient


def make_tenant(
    slug: str = "", environment: str = Environment.LIVE, partner: Partner | None = None
) -> Tenant:
    """A partner (fresh unless given) and its client."""
    owner = partner or make_partner(slug)
    issued = make_key(owner, environment)
    return Tenant(owner, environment, issued, partner_client(issued))


def strangers(tenant: Tenant) -> tuple[Tenant, Tenant]:
    """Callers who must not see what ``tenant`` owns: another partner, and the same one in the other
    environment."""
    other = Environment.TEST if tenant.environment == Environment.LIVE else Environment.LIVE
    return make_tenant(), make_tenant(environment=other, partner=tenant.partner)
