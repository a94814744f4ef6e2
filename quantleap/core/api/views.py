"""Base views: what every partner and user route shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final, TypeVar

from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from quantleap.core.api.idempotency import Idempotency, idempotent
from quantleap.core.api.pagination import check_query
from quantleap.core.api.parsers import check_body
from quantleap.core.api.principal import (
    CustomerPrincipal,
    PartnerPrincipal,
    Principal,
    customer_of,
    partner_of,
    require_permission,
)
from quantleap.core.errors import PartnerSuspended

S = TypeVar("S", bound="serializers.Serializer[Any]")
QueryByMethod = Mapping[str, Collection[str]]


def _rules_of(request: Request) -> str:
    """The method whose rules hold: a HEAD is a GET that keeps the body to itself."""
    return "GET" if request.method == "HEAD" else request.method or ""


def _require(principal: Principal, request: Request, view: APIView) -> None:
    """403 unless the caller's key has the permission that this method needs."""
    permission = getattr(view, "permissions_by_method", {}).get(_rules_of(request))
    if permission:
        require_permission(principal, permission)


#: What stays open, for whoever meets a closed door.
_KEY_MAY: Final = (
    "This partner is suspended. Until it is reinstated its keys make tokens for customers, pause "
    "and cancel."
)
_CUSTOMER_MAY: Final = (
    "The partner is suspended. Until it is reinstated customers read what is theirs, log in to "
    "their broker, pause, cancel and exit."
)


def _refuse_suspended(principal: Principal, request: Request, view: APIView) -> None:
    """403 where the partner is suspended and the view does not say that this method stays open."""
    if not principal.suspended:
        return
    stays_open: frozenset[str] = getattr(view, "open_when_suspended", frozenset())
    of_partner = isinstance(principal, PartnerPrincipal)
    if _rules_of(request) in stays_open and not (of_partner and isinstance(view, PublicView)):
        return
    raise PartnerSuspended(_KEY_MAY if of_partner else _CUSTOMER_MAY)


class _PartnerDoor(BasePermission):
    """401 before 403: who one is comes first; then what a suspension leaves open, then the key's
    permission for this method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        _refuse_suspended(partner_of(request), request, view)
        _require(partner_of(request), request, view)
        return True


class _CustomerDoor(BasePermission):
    """Only a customer's own token opens ``/user``, and no further than the key that minted it."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        _refuse_suspended(customer_of(request), request, view)
        _require(customer_of(request), request, view)
        return True


class _PublicDoor(BasePermission):
    """Anybody; who shows a key, or a token that a key minted, sees what the key may see."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal: Any = request.auth
        if principal is not None:
            _refuse_suspended(principal, request, view)
            _require(principal, request, view)
        return True


class StrictView(APIView):
    """Refuses unknown query parameters; validates bodies with a strict serializer.

    ``query_by_method`` names the query parameters that each method takes; none where it is silent.
    ``idempotency`` says how a POST holds its ``Idempotency-Key``: a view whose POST talks to a
    broker must say ``Idempotency.OUTSIDE``, because by default it runs in one transaction.
    """

    # no OPTIONS: what a route takes is in its document, and 405 is what the contract promises
    http_method_names = ("get", "post", "put", "patch", "delete", "head")
    query_by_method: ClassVar[QueryByMethod] = {}
    repeatable_query: ClassVar[frozenset[str]] = frozenset()
    idempotency: ClassVar[Idempotency] = Idempotency.WITH_EFFECT
    #: Methods that a suspended partner's key, or its customers' tokens, may still call; of a public
    #: view the tokens alone. Closed unless a view says so (adr 0051).
    open_when_suspended: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Every POST honours ``Idempotency-Key``, so that none can forget it."""
        super().__init_subclass__(**kwargs)
        if "post" in vars(cls):
            setattr(cls, "post", idempotent(vars(cls)["post"]))  # noqa: B010  not every view posts

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Order of checks: 401, 403, 405, 413 and 415, the query; after that
        the method's own: 404, then what the body says."""
        super().initial(request, *args, **kwargs)
        method = request.method or ""
        if method.lower() not in self.http_method_names or not hasattr(self, method.lower()):
            raise MethodNotAllowed(method)
        check_body(request)
        allowed = self.query_by_method.get(_rules_of(request), ())
        check_query(request, allowed, repeatable=self.repeatable_query)

    def validated(self, serializer: type[S], request: Request) -> dict[str, Any]:
        """The body as validated by ``serializer``."""
        bound = serializer(data=request.data)
        bound.is_valid(raise_exception=True)
        data: dict[str, Any] = bound.validated_data
        return data


class PartnerView(StrictView):
    """A route under ``/partner``. ``permissions_by_method`` names the key permission needed."""

    permission_classes = (_PartnerDoor,)
    permissions_by_method: ClassVar[dict[str, str]] = {}

    @property
    def partner(self) -> PartnerPrincipal:
        """The calling key."""
        return partner_of(self.request)


class CustomerView(StrictView):
    """A route under ``/user``. ``permissions_by_method`` names what the token's key must have."""

    permission_classes = (_CustomerDoor,)
    permissions_by_method: ClassVar[dict[str, str]] = {}

    @property
    def customer(self) -> CustomerPrincipal:
        """The calling customer."""
        return customer_of(self.request)


class PublicView(StrictView):
    """Readable by anyone; a *bad* credential is still 401."""

    permission_classes = (_PublicDoor,)
    permissions_by_method: ClassVar[dict[str, str]] = {}
