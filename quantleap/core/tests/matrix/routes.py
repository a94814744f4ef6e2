"""Every route and method of the API, read off the URL conf and the views behind it."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers

from quantleap.core.api.paths import is_api_path
from quantleap.core.api.views import CustomerView, PartnerView, StrictView

VERSIONED = "/api/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. ``route`` has its parameters in braces."""

    method: str
    route: str
    view: type[StrictView]
    serializer: type[serializers.Serializer[Any]] | None

    def __str__(self) -> str:
        return f"{self.method} {self.route}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the ids in the path."""
        return tuple(re.findall(r"{(\w+)}", self.route))

    @property
    def surface(self) -> str:
        """Who may call it: ``partner``, ``user`` or ``public``."""
        if issubclass(self.view, PartnerView):
            return "partner"
        return "user" if issubclass(self.view, CustomerView) else "public"

    @property
    def permission(self) -> str:
        """What a partner's key needs for it."""
        named: Mapping[str, str] = getattr(self.view, "permissions_by_method", {})
        return named.get(self.method, "")

    @property
    def query(self) -> Collection[str]:
        """The query parameters it takes."""
        return self.view.query_by_method.get(self.method, ())

    def url(self, ids: Mapping[str, str], query: str = "") -> str:
        """The path with these ids in it; KeyError for a kind of id that nobody knows."""
        path = self.route.format(**{name: quote(ids[name], safe="") for name in self.parameters})
        return f"{path}?{query}" if query else path


def leaves(
    patterns: Collection[URLPattern | URLResolver] | None = None, prefix: str = "/"
) -> Iterator[tuple[str, URLPattern]]:
    """Every path of the URL conf with its pattern."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + _PARAMETER.sub(r"{\1}", str(one.pattern))
        if isinstance(one, URLResolver):
            yield from leaves(one.url_patterns, path)
        else:
            yield path, one


def api_views() -> dict[str, Any]:
    """Every API path, versioned or not, with its view class (None: not a class of DRF's)."""
    return {
        path: getattr(pattern.callback, "cls", None)
        for path, pattern in leaves()
        if is_api_path(path)
    }


def implemented(view: type[StrictView]) -> tuple[str, ...]:
    """The methods that a view has code for."""
    return tuple(method for method in METHODS if hasattr(view, method.lower()))


def body_of(view: type[StrictView], method: str) -> type[serializers.Serializer[Any]] | None:
    """The serializer that the route's document names for the body."""
    if method in ("GET", "DELETE"):
        return None
    generator = SchemaGenerator()  # held on to: the view only borrows its schema
    drawn = generator.create_view(view.as_view(), method, None)
    drawn.schema.method = method
    found = drawn.schema.get_request_serializer()
    return found if isinstance(found, type) else None


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Every versioned operation, and one that shows that the unversioned ones are the same."""
    views = api_views()
    versioned = [
        Operation(method, path, view, body_of(view, method))
        for path, view in views.items()
        if path.startswith(VERSIONED)
        for method in implemented(view)
    ]
    sample = next(one for one in versioned if one.serializer and one.parameters)
    plain = sample.route.removeprefix(VERSIONED)
    return (*versioned, Operation(sample.method, plain, views[plain], sample.serializer))
