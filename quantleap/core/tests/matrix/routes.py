"""Every route and method of the API, derived from the URL conf and the viewsets."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework import serializers

from quantleap.core.api.paths import is_api_path
from quantleap.core.api.viewsets import ActionRule, ApiViewSet, PartnerViewSet, UserViewSet

VERSIONED = "/api/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. ``route`` has its parameters in braces."""

    method: str
    route: str
    view: type[ApiViewSet]
    action: str

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the ids in the path."""
        return tuple(re.findall(r"{(\w+)}", self.route))

    @property
    def surface(self) -> str:
        """Who may call it: ``partner``, ``user`` or ``public``."""
        if issubclass(self.view, PartnerViewSet):
            return "partner"
        return "user" if issubclass(self.view, UserViewSet) else "public"

    @property
    def rule(self) -> ActionRule:
        """What the operation requires of the caller and of the request."""
        return self.view.rules[self.action]

    @property
    def permission(self) -> str:
        """The permission that a partner's key needs."""
        return self.rule.permission

    @property
    def query(self) -> Collection[str]:
        """The query parameters it takes."""
        return self.rule.query

    @property
    def serializer(self) -> type[serializers.Serializer[Any]] | None:
        """The serializer of its body; None if it has none."""
        return self.rule.body

    def url(self, ids: Mapping[str, str], query: str = "") -> str:
        """The path with these ids in it; KeyError for an unknown kind of id."""
        path = self.route.format(**{name: quote(ids[name], safe="") for name in self.parameters})
        return f"{path}?{query}" if query else path


def leaves(
    patterns: Collection[URLPattern | URLResolver] | None = None, prefix: str = "/"
) -> Iterator[tuple[str, URLPattern]]:
    """Every path of the URL conf with its pattern."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + _PARAMETER.sub(r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from leaves(pattern.url_patterns, path)
        else:
            yield path, pattern


@dataclass(frozen=True, slots=True)
class Route:
    """The target of a path. ``view`` is None if it is no DRF class; ``actions``, by method, are
    None if it is no viewset; ``from_router`` says that a router made the path."""

    view: Any
    actions: Mapping[str, str] | None
    from_router: bool


def route_of(pattern: URLPattern) -> Route:
    """What a pattern leads to."""
    actions: Mapping[str, str] | None = getattr(pattern.callback, "actions", None)
    if actions is not None:  # DRF adds HEAD when the first GET comes
        actions = {method.upper(): action for method, action in actions.items() if method != "head"}
    # a router alone gives a view the name of its resource
    given = getattr(pattern.callback, "initkwargs", {})
    return Route(getattr(pattern.callback, "cls", None), actions, "basename" in given)


def api_routes() -> dict[str, Route]:
    """Every API path, versioned or not, with what it leads to."""
    return {path: route_of(pattern) for path, pattern in leaves() if is_api_path(path)}


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Every versioned operation, and one that shows that the unversioned ones are the same."""
    versioned = [
        Operation(method, path, route.view, route.actions[method])
        for path, route in api_routes().items()
        if path.startswith(VERSIONED) and route.actions is not None
        for method in METHODS
        if method in route.actions
    ]
    sample = next(
        operation for operation in versioned if operation.serializer and operation.parameters
    )
    plain = sample.route.removeprefix(VERSIONED)
    return (*versioned, Operation(sample.method, plain, sample.view, sample.action))
