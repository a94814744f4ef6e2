"""The authenticated caller: the object that authentication leaves on ``request.auth``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rest_framework.request import Request

from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidCredentials, PermissionDenied
from quantleap.core.models import ActorKind
from quantleap.core.tenancy import Environment


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may ask for: ``per_minute`` requests of each class and ``per_day`` of all but
    logins. ``overrides`` holds other numbers a minute, by class (docs/api/limits.md)."""

    per_minute: int = 60
    per_day: int = 10_000
    overrides: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartnerPrincipal:
    """A partner's key. ``permissions`` are those granted to the key, read again on every request;
    so are ``suspended``, whether the partner is suspended, and the key's ``limits``.

    ``customer_id`` is None, because a key acts for all customers of the partner. A
    CustomerPrincipal acts for one.
    """

    partner_id: int
    slug: str
    key_id: int
    key_public_id: str
    environment: str
    permissions: frozenset[str] = field(default_factory=frozenset)
    suspended: bool = False
    limits: KeyLimits = field(default_factory=KeyLimits)

    customer_id = None
    is_authenticated = True

    @property
    def actor(self) -> Actor:
        """The actor for the audit log."""
        return Actor(ActorKind.PARTNER, self.key_public_id)


@dataclass(frozen=True, slots=True)
class CustomerPrincipal:
    """A customer with a user token. ``partner_id`` is None for a direct customer.

    ``key_id`` and ``key_public_id`` identify the key that issued the token; ``permissions`` are
    what that key may do now. Direct customers have no key (None, empty) and no such limits (None).
    ``suspended``: whether their partner is suspended. ``limits`` are those of that key.
    """

    customer_id: int
    customer_public_id: str
    partner_id: int | None
    environment: str
    key_id: int | None = None
    key_public_id: str = ""
    permissions: frozenset[str] | None = None
    suspended: bool = False
    limits: KeyLimits = field(default_factory=KeyLimits)

    is_authenticated = True

    @property
    def actor(self) -> Actor:
        """The actor for the audit log, with the key that issued the token."""
        return Actor(ActorKind.USER, self.customer_public_id, via=self.key_public_id)


Principal = PartnerPrincipal | CustomerPrincipal


def principal_of(request: Request) -> Principal:
    """The caller; InvalidCredentials (401) if there is none."""
    auth: Any = request.auth
    if not isinstance(auth, PartnerPrincipal | CustomerPrincipal):
        raise InvalidCredentials
    return auth


def partner_of(request: Request) -> PartnerPrincipal:
    """The calling partner; InvalidCredentials (401) if the caller is not a partner."""
    auth: Any = request.auth
    if not isinstance(auth, PartnerPrincipal):
        raise InvalidCredentials
    return auth


def customer_of(request: Request) -> CustomerPrincipal:
    """The calling customer; InvalidCredentials (401) if the caller is not a customer."""
    auth: Any = request.auth
    if not isinstance(auth, CustomerPrincipal):
        raise InvalidCredentials("User token required")
    return auth


def caller_scope(request: Request) -> tuple[int | None, str]:
    """``(partner_id, environment)`` of the caller; an anonymous caller is (None, live)."""
    auth = cast("Principal | None", request.auth)
    if auth is None:
        return None, Environment.LIVE
    return auth.partner_id, auth.environment


def require_permission(principal: Principal, permission: str) -> None:
    """Raise 403 ``permission_denied`` with the permission's name if the key lacks it.

    A user token never has more rights than the key that issued it.
    """
    if principal.permissions is None or permission in principal.permissions:
        return
    whose = "This key" if isinstance(principal, PartnerPrincipal) else "This token's key"
    raise PermissionDenied(
        f"{whose} lacks the permission {permission}", details={"permission": permission}
    )
