"""Middleware for request ids, and for errors outside a view."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from quantleap.core import error_pages
from quantleap.core.api.exceptions import json_error
from quantleap.core.api.paths import is_api_path
from quantleap.core.api.rate_limits import kept_headers
from quantleap.core.client_ip import caller_address
from quantleap.core.ids import new_request_id
from quantleap.core.request_context import set_request_id

log = structlog.get_logger(__name__)

_OWN_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
_PROXY_HEADERS: Final = ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded")


class RequestIdMiddleware:
    """Keeps the caller's ``X-Request-Id`` (printable ASCII, at most 64 characters) or creates
    one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _OWN_ID.fullmatch(given) else new_request_id()
        # The request log reads the header again; it must log the id that the answer carries.
        request.META["HTTP_X_REQUEST_ID"] = request_id
        set_request_id(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = self.get_response(request)
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
        response.headers["X-Request-Id"] = request_id
        return response


class RequestLogMiddleware(RequestMiddleware):
    """The request log, with the caller's address as the configured proxies report it.

    The library takes the address from any X-Forwarded-For header, so a caller could write somebody
    else's into our log.
    """

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        """Bind the address by the configured proxies; empty if it cannot be known."""
        structlog.contextvars.bind_contextvars(ip=str(caller_address(request) or ""))


class RefusePlainHttpMiddleware:
    """Refuses plain HTTP instead of redirecting it: a redirect would let clients send their secrets
    unencrypted again and again.

    Only a process on the same machine that came without a proxy (health checks) may use plain HTTP.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (
            settings.QUANTLEAP_REFUSE_PLAIN_HTTP
            and not settings.DEBUG
            and not request.is_secure()
            and not _is_local_and_direct(request)
        ):
            return json_error(403, code="https_required", message="Use https.")
        return self.get_response(request)


class NoStoreMiddleware:
    """Forbids every cache to keep an answer, because most answers are personal or secret.

    Static files do not pass through here. A page in the browser's cache would still be there after
    a log-out, and a proxy could serve it to the next person.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["Cache-Control"] = "no-store, private"
        return response


class RateLimitMiddleware:
    """Adds the headers of the limits to every answer to a request that was charged.

    The view does not answer a crash, so it cannot add them.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in kept_headers(request).items():
            response.headers[name] = value
        return response


def _is_local_and_direct(request: HttpRequest) -> bool:
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a unix socket has no address
        return False


class ApiErrorMiddleware:
    """Makes sure that no HTML error page ever answers an API path."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if (
            response.status_code >= 400
            and is_api_path(request.path)
            and not response.headers.get("Content-Type", "").startswith("application/json")
        ):
            return json_error(response.status_code)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Log a crash of an API view and answer 500 without internal details."""
        if not is_api_path(request.path):
            return None
        log.error("unhandled_exception", path=request.path, exc_info=exception)
        return json_error(500)


class ErrorPageMiddleware:
    """Turns bare refusals (405 has no body) into pages for people, and answers 400 for a NUL in an
    address.

    PostgreSQL cannot store NUL as text. The API reports the parameter itself.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if is_api_path(request.path):
            return self.get_response(request)
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            return error_pages.page(request, 400)
        response = self.get_response(request)
        code = response.status_code
        if code not in error_pages.WORDS or response.streaming or response.content:
            return response
        shown = error_pages.page(request, code)
        for name in ("Allow", "Retry-After"):
            if name in response.headers:
                shown.headers[name] = response.headers[name]
        return shown
