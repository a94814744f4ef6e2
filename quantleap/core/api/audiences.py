"""Who may call: one permission class for each audience.

Each class checks in this order: 401 for a caller of another audience, 403 ``partner_suspended``,
403 ``permission_denied``. The action's rule (quantleap.core.api.viewsets) says what is required.
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

#: What stays open while the partner is suspended (docs/adr/0051), for the message of the refusal.
_KEY_MAY: Final = (
    "This partner is suspended. Until it is reinstated, its keys only issue user tokens, pause "
    "and cancel."
)
_CUSTOMER_MAY: Final = (
    "The partner is suspended. Until it is reinstated, customers read their own data, log in to "
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
    """Return True if the principal may do what the view's rule describes; otherwise raise a 403
    error."""
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
    """A customer with a token of their own, which has no more rights than the key that issued
    it."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True; InvalidCredentials (401), PartnerSuspended or PermissionDenied (403)."""
        return _check(customer_of(request), view)


class IsAnyone(BasePermission):
    """Everybody. A caller with a key, or with a token that a key issued, sees what that key may
    see."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return True, or raise PartnerSuspended or PermissionDenied (403). ``open_when_suspended``
        applies to customers' tokens only: public routes are closed to a suspended partner's key."""
        principal = cast("Principal | None", request.auth)
        if principal is None:
            return True
        if principal.suspended and isinstance(principal, PartnerPrincipal):
            raise _suspended(principal)
        return _check(principal, view)
