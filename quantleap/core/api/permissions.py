"""Who may call: one permission class for each audience.

Each of them answers in this order: 401 for whoever is somebody else, 403 ``partner_suspended``, 403
``permission_denied``. The action's rule (quantleap.core.api.viewsets) says what is required.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from quantleap.core.api.principal import (
    PartnerPrincipal,
    Principal,
    customer_of,
    partner_of,
    require_permission,
)
from quantleap.core.errors import PartnerSuspended

#: What stays open while the partner is suspended (docs/adr/0051), for whoever is refused.
_KEY_MAY: Final = (
    "This partner is suspended. Until it is reinstated its keys make tokens for customers, pause "
    "and cancel."
)
_CUSTOMER_MAY: Final = (
    "The partner is suspended. Until it is reinstated customers read what is theirs, log in to "
    "their broker, pause, cancel and exit."
)


class _Rule(Protocol):
    @property
    def permission(self) -> str: ...
    @property
    def open_when_suspended(self) -> bool: ...


class _View(Protocol):
    @property
    def rule(self) -> _Rule: ...


def _suspended(principal: Principal) -> PartnerSuspended:
    return PartnerSuspended(_KEY_MAY if isinstance(principal, PartnerPrincipal) else _CUSTOMER_MAY)


def _check(principal: Principal, view: Any) -> bool:
    """Whether the principal may do what the view's rule is about: True, or 403 by raising."""
    rule = cast(_View, view).rule
    if principal.suspended and not rule.open_when_suspended:
        raise _suspended(principal)
    if rule.permission:
        require_permission(principal, rule.permission)
    return True


class IsPartner(BasePermission):
    """A partner's key, with the permission that the action needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True; InvalidCredentials (401), PartnerSuspended or PermissionDenied (403)."""
        return _check(partner_of(request), view)


class IsCustomer(BasePermission):
    """A customer's own token. It may do no more than the key that minted it."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True; InvalidCredentials (401), PartnerSuspended or PermissionDenied (403)."""
        return _check(customer_of(request), view)


class IsAnyone(BasePermission):
    """Everybody. Whoever shows a key, or a token that a key minted, sees what that key may see."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True; PartnerSuspended or PermissionDenied (403). ``open_when_suspended`` is about the
        customers' tokens only: to a suspended partner's key a public route is closed."""
        principal = cast("Principal | None", request.auth)
        if principal is None:
            return True
        if principal.suspended and isinstance(principal, PartnerPrincipal):
            raise _suspended(principal)
        return _check(principal, view)
