"""The base of every route: the checks before an action, in one place and in one order.

A resource has one viewset for each audience, derived from that audience's base class in this
module; code that two audiences share is in a viewset of the resource, from which both inherit.
:mod:`quantleap.core.api.routers` makes the routes; :mod:`quantleap.core.api.exceptions` turns
errors into the envelope. How to add a route: docs/contributing.md#add-a-route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

from django.core.exceptions import ImproperlyConfigured
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from quantleap.core.api.audiences import IsAnyone, IsCustomer, IsPartner
from quantleap.core.api.idempotency import Idempotency, idempotent
from quantleap.core.api.pagination import check_query
from quantleap.core.api.parsers import check_body
from quantleap.core.api.principal import (
    CustomerPrincipal,
    PartnerPrincipal,
    Principal,
    customer_of,
    partner_of,
    principal_of,
)
from quantleap.core.api.rate_limits import LimitClass, charge_request
from quantleap.core.identifiers import ascii_lower


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What an action requires of its caller and of the request.

    ``permission``: the permission that the partner's key needs, or the key that issued the
    customer's token. ``query``: the known query parameters; those in ``repeatable`` may occur
    twice. ``body``: the serializer that reads the body, also for the OpenAPI document.
    ``idempotency``: how a POST honours ``Idempotency-Key``. The default is one transaction around
    everything, so an action that calls a broker must use ``Idempotency.OUTSIDE``.
    ``limit``: the class whose bucket a request is charged to (docs/api/limits.md).
    ``open_when_suspended``: open to a suspended partner's keys, or to its customers' tokens; closed
    unless an action says otherwise (docs/adr/0051).
    """

    permission: str = ""
    query: frozenset[str] = frozenset()
    repeatable: frozenset[str] = frozenset()
    body: type[serializers.Serializer[Any]] | None = None
    idempotency: Idempotency = Idempotency.WITH_EFFECT
    open_when_suspended: bool = False
    limit: LimitClass = LimitClass.MANAGE


#: For a method that the route does not support; the answer is 405.
_NO_ACTION: Final = ActionRule()


class ApiViewSet(GenericViewSet[Any]):
    """A resource: actions, and a rule for each of them.

    ``tag`` is the heading under which the OpenAPI document shows its operations.
    """

    # no OPTIONS: the document says what a route takes, and the contract promises a 405
    http_method_names = ("get", "post", "put", "patch", "delete", "head")
    tag: ClassVar[str] = ""
    rules: ClassVar[Mapping[str, ActionRule]] = {}
    post: Callable[..., Any]  # if the route has a POST: bound to its action for one request

    @property
    def rule(self) -> ActionRule:
        """The rule of the action that answers this request; a HEAD uses that of its GET."""
        return self.rules.get(self.action, _NO_ACTION)

    @property
    def caller(self) -> Principal:
        """The caller; InvalidCredentials (401) if there is none."""
        return principal_of(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Run every check that precedes the action, in the order of
        docs/api/conventions.md#the-order-of-checks. The action's own checks follow: 404 for the
        object that the path names, then 400 for the content of the body."""
        # authentication: 401; check_permissions below: 429, 403
        super().initial(request, *args, **kwargs)
        method = ascii_lower(request.method or "")
        if method not in self.http_method_names or not hasattr(self, method):
            raise MethodNotAllowed(request.method or "")  # 405
        check_body(request)  # 413, 415
        check_query(request, self.rule.query, repeatable=self.rule.repeatable)  # 400
        self.check_named_customer(request)  # 429
        if method == "post":
            self.post = idempotent(self, self.post, self.rule.idempotency)

    def check_permissions(self, request: Request) -> None:
        """Charge the request to its caller's buckets (429), then check what the caller may do
        (403). A caller of another audience is a 401 and charged nothing."""
        charge_request(request, self.charged_caller, self.rule.limit, self.named_customer)
        super().check_permissions(request)

    @property
    def charged_caller(self) -> Principal | None:
        """Whose buckets a request is charged to; InvalidCredentials (401) for a caller of another
        audience. None: the address's."""
        return cast("Principal | None", self.request.auth)

    @property
    def named_customer(self) -> str:
        """The customer, or their account, that the path of a partner's login names; '' if none."""
        return ""

    def check_named_customer(self, request: Request) -> None:
        """Charge the customer whom only the body names, where a route does so (429)."""

    def validated(self, request: Request) -> dict[str, Any]:
        """The body as validated by the rule's serializer; ValidationError (400) names what is
        wrong."""
        if self.rule.body is None:
            raise ImproperlyConfigured(f"{type(self).__name__}: no body in the rule {self.action}")
        bound = self.rule.body(data=request.data)
        bound.is_valid(raise_exception=True)
        data: dict[str, Any] = bound.validated_data
        return data


class PartnerViewSet(ApiViewSet):
    """Routes under ``/partner``: a partner's backend, with its key, for all its customers."""

    permission_classes = (IsPartner,)

    @property
    def charged_caller(self) -> PartnerPrincipal:
        """The calling key."""
        return self.caller

    @property
    def caller(self) -> PartnerPrincipal:
        """The calling key."""
        return partner_of(self.request)


class UserViewSet(ApiViewSet):
    """Routes under ``/user``: one customer, with a token of their own, for their own objects."""

    permission_classes = (IsCustomer,)

    @property
    def charged_caller(self) -> CustomerPrincipal:
        """The calling customer."""
        return self.caller

    @property
    def caller(self) -> CustomerPrincipal:
        """The calling customer."""
        return customer_of(self.request)


class PublicViewSet(ApiViewSet):
    """Routes that need no credential; a *bad* one is still a 401."""

    permission_classes = (IsAnyone,)
