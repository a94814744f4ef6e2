"""Authentication of callers: a partner's key and secret, a customer's token, or none."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import Exists, OuterRef, Q
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from partners.api_keys import ParsedKey, parse_key, parse_secret
from partners.models import Partner, PartnerKey, PartnerSecret, UserToken
from partners.services import USER_TOKEN_PREFIX, token_hash
from partners.verification import StoredSecret, verify
from quantleap.core import clock
from quantleap.core.api.principal import (
    CustomerPrincipal,
    KeyLimits,
    PartnerPrincipal,
    Principal,
)
from quantleap.core.api.rate_limits import LimitClass
from quantleap.core.client_ip import caller_address
from quantleap.core.errors import AddressNotAllowed, InvalidCredentials
from quantleap.core.identifiers import ascii_lower
from quantleap.core.ip_addresses import is_allowed

SECRET_HEADER: Final = "X-Partner-Secret"  # noqa: S105  a header's name
LAST_USED_EVERY: Final = dt.timedelta(minutes=1)
_MAX_CREDENTIAL: Final = 200


class CallerAuthentication(BaseAuthentication):
    """Leaves a PartnerPrincipal or a CustomerPrincipal on ``request.auth``; None for anonymous
    callers.

    A credential must be valid if it is given, on public routes too: a client with a mistyped secret
    gets an error instead of silently seeing less.
    """

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        """The caller. InvalidCredentials (401) or AddressNotAllowed (403, partners only)."""
        authorization = request.headers.get("Authorization")
        secret = request.headers.get(SECRET_HEADER)
        if authorization is None and secret is None:
            return None
        scheme, _, credential = (authorization or "").partition(" ")
        if ascii_lower(scheme) != "bearer" or len(credential) > _MAX_CREDENTIAL:
            raise InvalidCredentials
        now = clock.now()
        principal: Principal
        if secret is None and credential.startswith(USER_TOKEN_PREFIX):
            principal = _customer(credential, now)
        else:
            principal = _partner(credential, secret or "", request, now)
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 rather than 403."""
        return "Bearer"


@dataclass(frozen=True, slots=True)
class _KeyRow:
    """A usable key, as currently stored."""

    principal: PartnerPrincipal
    allowed_ips: tuple[str, ...]
    secrets: tuple[StoredSecret, ...]
    last_used: dict[int, dt.datetime | None]


def _partner(
    credential: str, secret_text: str, request: Request, now: dt.datetime
) -> PartnerPrincipal:
    key, secret = parse_key(credential), parse_secret(secret_text)
    if key is None or secret is None or not secret.belongs_to(key):
        raise InvalidCredentials
    row = _read_key(key, now)
    if row is None:
        raise InvalidCredentials
    matched = verify(key, secret, row.secrets)
    if matched is None:
        raise InvalidCredentials
    if not is_allowed(row.allowed_ips, caller_address(request)):
        raise AddressNotAllowed("This address is not on the partner's list.")
    _note_use(matched.id, row.last_used[matched.id], now)
    return row.principal


# SQL rather than the ORM: this runs on every request, and composing the query again each time would
# cost more than the database needs to answer it.
_KEY_ROWS: Final = """
SELECT secret.id, secret.mac_key, secret.mac, secret.hash, secret.last4, secret.last_used_at,
       key.id, key.public_id, key.permissions, partner.id, partner.slug, partner.allowed_ips,
       partner.status, key.requests_per_minute, key.requests_per_day, key.browse_per_minute,
       key.subscribe_per_minute, key.manage_per_minute, key.login_per_minute
  FROM partners_partnerkey AS key
  JOIN partners_partner AS partner ON partner.id = key.partner_id
  JOIN partners_partnersecret AS secret ON secret.key_id = key.id
 WHERE key.key = %s
   AND key.environment = %s
   AND key.status = 'ACTIVE'
   AND key.expires_at > %s
   AND (secret.expires_at IS NULL OR secret.expires_at > %s)
 ORDER BY secret.version DESC
"""


def _read_key(key: ParsedKey, now: dt.datetime) -> _KeyRow | None:
    """Key, partner and live secrets in one query, on every request, so that a revocation,
    suspension, expiry or permission change acts on the next one. quantleap.core.api.audiences
    says what a suspended partner may still do."""
    with connection.cursor() as cursor:
        cursor.execute(_KEY_ROWS, [key.text, key.environment, now, now])
        rows = cursor.fetchall()
    if not rows:
        return None
    key_id, public_id, permissions, partner_id, slug, allowed_ips, status = rows[0][6:13]
    return _KeyRow(
        principal=PartnerPrincipal(
            partner_id=partner_id,
            slug=slug,
            key_id=key_id,
            key_public_id=public_id,
            environment=key.environment,
            permissions=frozenset(permissions),
            suspended=status != Partner.Status.ACTIVE,
            limits=_limits(*rows[0][13:]),
        ),
        allowed_ips=tuple(allowed_ips),
        secrets=tuple(StoredSecret(*row[:5]) for row in rows),
        last_used={row[0]: row[5] for row in rows},
    )


def _limits(per_minute: int, per_day: int, *by_class: int | None) -> KeyLimits:
    """A key's limits from its columns; ``by_class`` in the order of LimitClass, None: no other."""
    overrides = {
        str(name): limit
        for name, limit in zip(LimitClass, by_class, strict=True)
        if limit is not None
    }
    return KeyLimits(per_minute, per_day, overrides)


def _note_use(secret_id: int, last_used: dt.datetime | None, now: dt.datetime) -> None:
    """Write ``last_used_at`` at most once a minute; concurrent requests write it once."""
    earlier = now - LAST_USED_EVERY
    if last_used is not None and last_used > earlier:
        return
    PartnerSecret.objects.filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lte=earlier), pk=secret_id
    ).update(last_used_at=now)


def _customer(token: str, now: dt.datetime) -> CustomerPrincipal:
    """The token's customer, with the current permissions of the key that issued the token.

    A revoked or expired key ends its tokens. A suspended partner's tokens stay valid, so that its
    customers are not locked in.
    """
    suspended = Partner.objects.filter(pk=OuterRef("partner_id")).exclude(
        status=Partner.Status.ACTIVE
    )
    usable = Q(key__isnull=True) | Q(key__status=PartnerKey.Status.ACTIVE, key__expires_at__gt=now)
    row = (
        UserToken.objects.filter(
            usable,
            token_hash=token_hash(token),
            expires_at__gt=now,
            revoked_at__isnull=True,
        )
        .annotate(suspended=Exists(suspended))
        .select_related("customer", "key")
        .first()
    )
    if row is None:
        raise InvalidCredentials("Invalid or expired user token")
    return CustomerPrincipal(
        customer_id=row.customer_id,
        customer_public_id=row.customer.public_id,
        partner_id=row.partner_id,
        environment=row.environment,
        key_id=row.key_id,
        key_public_id=row.key.public_id if row.key else "",
        permissions=frozenset(row.key.permissions) if row.key else None,
        suspended=row.suspended,
        limits=_limits_of(row.key) if row.key else KeyLimits(),
    )


def _limits_of(key: PartnerKey) -> KeyLimits:
    by_class = (getattr(key, f"{name}_per_minute") for name in LimitClass)
    return _limits(key.requests_per_minute, key.requests_per_day, *by_class)
