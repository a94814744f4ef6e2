"""The console's login, limited per address and per account (api.md section 2)."""

from __future__ import annotations

from typing import Final

import structlog
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django_ratelimit.core import is_ratelimited
from redis.exceptions import RedisError

from quantleap.core.callers import caller_address

log = structlog.get_logger(__name__)

PER_ADDRESS: Final = "30/m"
PER_ACCOUNT: Final = "10/m"
_UNKNOWN: Final = "unknown"


def _address(_group: str, request: HttpRequest) -> str:
    return str(caller_address(request) or _UNKNOWN)


def _account(_group: str, request: HttpRequest) -> str:
    """The name as typed, without regard to case, so that spelling it otherwise gains no tries."""
    return request.POST.get("username", "").strip().lower()[:150]


def _is_limited(request: HttpRequest) -> bool:
    """Count this try against both; both are counted whichever is used up."""
    used = [
        is_ratelimited(request, group=f"console-login-{name}", key=key, rate=rate, increment=True)
        for name, key, rate in (
            ("address", _address, PER_ADDRESS),
            ("account", _account, PER_ACCOUNT),
        )
    ]
    return any(used)


@never_cache
def console_login(request: HttpRequest) -> HttpResponse:
    """Django's login page; too many tries are 429, and without the counter nobody gets in (503)."""
    if request.method == "POST":
        try:
            limited = _is_limited(request)
        except (RedisError, OSError) as error:
            log.error("login_limit_unavailable", why=str(error))
            return HttpResponse("Try again later.", status=503, content_type="text/plain")
        if limited:
            log.warning("login_limited", address=_address("", request))
            response = HttpResponse(
                "Too many tries. Wait a minute.", status=429, content_type="text/plain"
            )
            response.headers["Retry-After"] = "60"
            return response
    return admin.site.login(request)
