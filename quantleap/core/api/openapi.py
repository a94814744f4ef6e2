"""One OpenAPI document per audience, generated from the routes (docs/api/conventions.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiYamlRenderer2

if TYPE_CHECKING:
    from quantleap.core.api.viewsets import ApiViewSet  # settings load this module first

_BASE: Final = "/api/v1/"


@dataclass(frozen=True, slots=True)
class Audience:
    """The readers of a document: which paths it contains, and how its readers authenticate."""

    name: str
    title: str
    prefixes: tuple[str, ...]
    schemes: Mapping[str, Mapping[str, str]]
    public: bool = True

    def includes(self, path: str) -> bool:
        """Whether a route's path belongs in this audience's document."""
        return path.startswith(tuple(_BASE + prefix for prefix in self.prefixes))


AUDIENCES: Final[Mapping[str, Audience]] = {
    audience.name: audience
    for audience in (
        Audience(
            "partner",
            "QuantLeap partner API",
            ("partner/", "marketplace/templates"),
            {
                "partnerKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`pk_<partner>_<live or test>_<32 alphanumerics>`",
                },
                "partnerSecret": {"type": "apiKey", "in": "header", "name": "X-Partner-Secret"},
            },
        ),
        Audience(
            "user",
            "QuantLeap user API",
            ("user/", "auth/", "marketplace/"),
            {"userToken": {"type": "http", "scheme": "bearer", "description": "15 minutes"}},
        ),
        Audience(
            "admin",
            "QuantLeap admin API",
            ("admin/",),
            {"staffSession": {"type": "apiKey", "in": "cookie", "name": "sessionid"}},
            public=False,
        ),
    )
}

ERROR_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "The shape of every error. Some codes add members of their own.",
    "required": ["statusCode", "error", "code", "message", "details", "request_id"],
    "properties": {
        "statusCode": {"type": "integer", "examples": [400]},
        "error": {"type": "string", "examples": ["Invalid request parameters"]},
        "code": {
            "type": "string",
            "description": "Stable; base decisions on this, not on the message.",
            "examples": [
                "invalid_request",
                "invalid_state",
                "state_missing",
                "invalid_credentials",
                "permission_denied",
                "partner_suspended",
                "ip_not_allowed",
                "not_found",
                "method_not_allowed",
                "duplicate_subscription",
                "client_id_taken",
                "email_differs",
                "external_user_id_differs",
                "email_taken",
                "payment_due",
                "price_changed",
                "held",
                "version_changed",
                "allocation_ambiguous",
                "allocation_exists",
                "last_allocation",
                "ambiguous_client_id",
                "invalid_transition",
                "open_positions",
                "credentials_unreadable",
                "idempotency_in_progress",
                "secret_already_shown",
                "rate_limited",
                "payload_too_large",
                "unsupported_media_type",
                "idempotency_mismatch",
                "broker_rejected",
                "broker_not_enabled",
                "internal_error",
                "unavailable",
            ],
        },
        "message": {"type": "string"},
        "details": {
            "type": "object",
            "description": "Field (dotted path) to message.",
            "additionalProperties": {"type": "string"},
        },
        "request_id": {"type": "string", "examples": ["req_0k3v9…"]},
    },
}


IDEMPOTENCY_KEY: Final[Mapping[str, Any]] = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "The first finished answer to a key is the only one, for 24 hours.",
    "schema": {"type": "string", "maxLength": 255},
}


#: The headers of every answer to a caller who was recognised (docs/api/limits.md).
LIMIT_HEADERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "X-RateLimit-Limit": {
        "description": "Requests per minute, or per day if the day's quota is used up.",
        "schema": {"type": "integer", "examples": [60]},
    },
    "X-RateLimit-Remaining": {
        "description": "Requests that would pass now.",
        "schema": {"type": "integer", "examples": [59]},
    },
    "X-RateLimit-Reset": {
        "description": "When all of them are there again, in unix seconds.",
        "schema": {"type": "integer", "examples": [1_796_100_001]},
    },
    "RateLimit": {
        "description": "Each limit, its remaining requests, and the seconds until all are there.",
        "schema": {"type": "string", "examples": ['"manage";r=59;t=1, "day";r=9999;t=43200']},
    },
    "RateLimit-Policy": {
        "description": "Each limit with its requests and its window in seconds.",
        "schema": {"type": "string", "examples": ['"manage";q=60;w=60, "day";q=10000;w=86400']},
    },
}
RETRY_AFTER: Final[Mapping[str, Any]] = {
    "description": "Seconds; the same request passes after them.",
    "schema": {"type": "integer", "examples": [1]},
}


class ApiSchema(AutoSchema):
    """Schema of an operation, without authentication, which the document states once."""

    def get_auth(self) -> list[Any]:
        """An empty list: the document states the authentication once."""
        return []

    def get_tags(self) -> list[str]:
        """The tag of the operation's viewset."""
        return [self._viewset.tag]

    def get_request_serializer(self) -> Any:
        """The serializer that the action's rule names for the body."""
        return self._viewset.rule.body

    @property
    def _viewset(self) -> ApiViewSet:
        # all our routes are (test_routes.py)
        return cast("ApiViewSet", self.view)

    def _is_list_view(self, serializer: Any = None) -> bool:
        """False: a list is an object that holds its rows, and each action declares its own
        parameters and its whole answer."""
        return False


def versioned_only(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Hook of the generator that drops the unversioned spelling of each route."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(_BASE)]


class _AudienceEndpoints(EndpointEnumerator):
    """The endpoints of one audience, without the documentation views."""

    audience: Audience

    def should_include_endpoint(self, path: str, callback: Any) -> bool:
        return self.audience.includes(path) and bool(
            super().should_include_endpoint(path, callback)
        )


def build_document(audience: Audience) -> dict[str, Any]:
    """The OpenAPI 3.1 document of an audience, identical for every caller and on every machine."""

    class Endpoints(_AudienceEndpoints):
        pass

    Endpoints.audience = audience
    generator = SchemaGenerator()
    generator.endpoint_inspector_cls = Endpoints
    document: dict[str, Any] = generator.get_schema(request=None, public=True)
    document["info"]["title"] = audience.title
    schemes = {name: dict(scheme) for name, scheme in audience.schemes.items()}
    components = document.setdefault("components", {})
    components["securitySchemes"] = schemes
    components.setdefault("schemas", {})["Error"] = dict(ERROR_SCHEMA)
    components["headers"] = {name: dict(header) for name, header in LIMIT_HEADERS.items()}
    document["security"] = [{name: [] for name in schemes}]
    for operations in document.get("paths", {}).values():
        for method, operation in operations.items():
            answers = operation.setdefault("responses", {})
            answers.setdefault("429", _refused_response())
            answers.setdefault("default", _error_response())
            for answer in answers.values():
                answer["headers"] = {**answer.get("headers", {}), **_limit_headers()}
            if method == "post":
                operation.setdefault("parameters", []).append(dict(IDEMPOTENCY_KEY))
    return document


def _error_response() -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Error"}
    return {"description": "Error", "content": {"application/json": {"schema": reference}}}


def _refused_response() -> dict[str, Any]:
    headers = {"Retry-After": dict(RETRY_AFTER)}
    return {**_error_response(), "description": "Too many requests", "headers": headers}


def _limit_headers() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in LIMIT_HEADERS}


def document_yaml(audience: Audience) -> str:
    """The document as committed in ``docs/api``."""
    rendered: bytes = OpenApiYamlRenderer2().render(build_document(audience))
    return rendered.decode()
