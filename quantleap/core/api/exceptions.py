"""The one error envelope (docs/api/conventions.md#errors), made in one place."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from rest_framework import exceptions, status
from rest_framework.response import Response

from quantleap.core import error_pages
from quantleap.core.api.paths import is_api_path
from quantleap.core.error_pages import Words
from quantleap.core.errors import DomainError
from quantleap.core.request_context import current_request_id

log = structlog.get_logger(__name__)

INVALID: Final = ("invalid_request", "Invalid request parameters")
_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    400: INVALID,
    401: ("invalid_credentials", "Invalid API key or secret"),
    403: ("permission_denied", "Permission denied"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("payload_too_large", "Request body too large"),
    429: ("rate_limited", "Rate limit exceeded"),
    415: ("unsupported_media_type", "Unsupported media type"),
    500: ("internal_error", "Internal error"),
    503: ("unavailable", "Service temporarily unavailable"),
}


def envelope(
    status_code: int,
    *,
    code: str = "",
    error: str = "",
    message: str = "",
    details: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of an error answer; missing values follow from the status."""
    default_code, default_error = _BY_STATUS.get(
        status_code, ("error", HTTPStatus(status_code).phrase)
    )
    title = error or default_error
    return {
        "statusCode": status_code,
        "error": title,
        "code": code or default_code,
        "message": message or title,
        "details": dict(details or {}),
        **(extra or {}),
        "request_id": current_request_id(),
    }


def flatten(detail: Any, path: str = "") -> dict[str, str]:
    """DRF's nested error detail as ``{dotted.path: message}``."""
    if isinstance(detail, Mapping):
        messages: dict[str, str] = {}
        for name, value in detail.items():
            inner = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            messages.update(flatten(value, inner))
        return messages
    if isinstance(detail, (list, tuple)):
        if detail and not any(isinstance(item, (Mapping, list, tuple)) for item in detail):
            return {path or "body": " ".join(str(item) for item in detail)}
        messages = {}
        for index, item in enumerate(detail):
            if item:
                messages.update(flatten(item, f"{path}.{index}" if path else str(index)))
        return messages
    return {path or "body": str(detail)}


def handle(error: Exception, _context: Mapping[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER: the envelope for every known error, None for a crash."""
    if isinstance(error, DomainError):
        headers = _authenticate_header(error.status)
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        body = envelope(
            error.status,
            code=error.code,
            error=error.error,
            message=error.message,
            details=error.details,
            extra=error.extra,
        )
        return Response(body, status=error.status, headers=headers)
    if isinstance(error, exceptions.ValidationError):
        details = flatten(error.detail)
        first_field, first = next(iter(details.items()), ("body", "Invalid."))
        message = f"{first_field}: {first}" if first_field != "body" else first
        return Response(envelope(400, message=message, details=details), status=400)
    if isinstance(error, RequestDataTooBig):
        return Response(envelope(413), status=413)
    if isinstance(error, SuspiciousOperation):  # a thousand parameters, for example
        return Response(envelope(400), status=400)
    if isinstance(error, Http404):
        return Response(envelope(404), status=404)
    if isinstance(error, DjangoPermissionDenied):
        return Response(envelope(403), status=403)
    if isinstance(error, exceptions.APIException):
        return _from_api_exception(error)
    return None


def _from_api_exception(error: exceptions.APIException) -> Response:
    code = error.status_code
    headers = _authenticate_header(code)
    wait = getattr(error, "wait", None)
    if wait:
        headers["Retry-After"] = str(int(wait))
    message = str(error.detail) if code not in (401, 404) else ""
    return Response(envelope(code, message=message), status=code, headers=headers)


def _authenticate_header(code: int) -> dict[str, str]:
    if code == status.HTTP_401_UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}


def json_error(status_code: int, **members: Any) -> JsonResponse:
    """The envelope for errors outside DRF (middleware, handler404 …)."""
    return JsonResponse(envelope(status_code, **members), status=status_code)


# -- the handlers of quantleap.urls and CSRF_FAILURE_VIEW: JSON, and pages for people -------------
def _answer(request: HttpRequest, status_code: int, words: Words | None = None) -> HttpResponse:
    if is_api_path(request.path):
        return json_error(status_code)
    return error_pages.page(request, status_code, words)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400, or 413 if the body was too large."""
    return _answer(request, 413 if isinstance(exception, RequestDataTooBig) else 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403, whatever the reason."""
    del exception
    return _answer(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404, without the exception's text, which would reveal what the code looked for."""
    del exception
    return _answer(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, without internal details."""
    return _answer(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 for a form with a wrong token; the reason goes into the log."""
    log.warning("csrf_refused", path=request.path, why=reason)
    return _answer(request, 403, error_pages.FORGED)
