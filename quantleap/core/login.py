"""The console's login and logout, limited per address and account, and audited.

Every login passes through here, so it is recorded here and not by Django's signals, which also fire
for programs that create sessions themselves (a test, a command).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib import admin
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django_ratelimit.core import get_usage
from redis.exceptions import RedisError

from quantleap.core import audit, error_pages, staff
from quantleap.core.audit import SYSTEM, Actor
from quantleap.core.client_ip import caller_address
from quantleap.core.models import StaffUser

log = structlog.get_logger(__name__)

PER_ADDRESS: Final = "30/m"
PER_ACCOUNT: Final = "10/m"
#: Seconds for which a browser is known after a login with it.
_KNOWN_FOR: Final = 180 * 86_400
_SALT: Final = "quantleap.core.login.known_device"
_UNKNOWN: Final = "unknown"


def _address(_group: str, request: HttpRequest) -> str:
    return str(caller_address(request) or _UNKNOWN)


def _account(_group: str, request: HttpRequest) -> str:
    """The typed name in one case, so that another spelling gains no extra tries."""
    return request.POST.get("username", "").strip().lower()[:150]


def _cookie_name(username: str) -> str:
    """A cookie for each account, so that two people can share a browser."""
    return f"known_device_{hashlib.sha256(username.lower().encode()).hexdigest()[:12]}"


def _known_device(request: HttpRequest, person: StaffUser | None) -> str:
    """The id of the browser, if this account has logged in with it since its password was last
    changed; '' otherwise."""
    if person is None:
        return ""
    value = request.COOKIES.get(_cookie_name(person.get_username()), "")
    try:
        pk, password, device = signing.loads(value, salt=_SALT, max_age=_KNOWN_FOR)
    except (signing.BadSignature, TypeError, ValueError):
        return ""
    same = pk == person.pk and constant_time_compare(password, person.get_session_auth_hash())
    return str(device) if same else ""


def _remember_device(request: HttpRequest, answer: HttpResponse, person: StaffUser) -> None:
    """Give the browser its cookie: with it, nobody's guesses elsewhere lock this person out."""
    device = _known_device(request, person) or secrets.token_urlsafe(16)
    value = signing.dumps([person.pk, person.get_session_auth_hash(), device], salt=_SALT)
    answer.set_cookie(
        _cookie_name(person.get_username()),
        value,
        max_age=_KNOWN_FOR,
        path=request.path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _own_account(_group: str, request: HttpRequest) -> str:
    return request.user.get_username().lower()


def _exhausted(request: HttpRequest, group: str, limits: Any) -> list[tuple[str, bool]]:
    """Count this try against every limit; returns the exhausted ones, and whether each was
    exhausted just now."""
    exhausted = []
    for name, key, rate in limits:
        usage = get_usage(request, group=f"{group}-{name}", key=key, rate=rate, increment=True)
        if usage is not None and usage["should_limit"]:
            exhausted.append((name, usage["count"] == usage["limit"] + 1))
    return exhausted


def _limited(request: HttpRequest, group: str, limits: Any, known: str) -> HttpResponse | None:
    """429 after too many tries, 503 if the counter is unavailable, None to continue."""
    try:
        exhausted = _exhausted(request, group, limits)
    except (RedisError, OSError) as error:
        log.error("login_limit_unavailable", why=str(error))
        return error_pages.page(request, 503)
    if not exhausted:
        return None
    log.warning("login_limited", address=_address("", request))
    for name, just_now in exhausted:
        if just_now:  # once per minute and limit, so that an attack cannot fill the audit log
            _record("staff.locked_out", known, {"tries": f"too many for this {name}"})
    response = error_pages.page(request, 429)
    response.headers["Retry-After"] = "60"
    return response


def _record(action: str, username: str, data: dict[str, Any] | None = None) -> None:
    """Write an audit entry about a person who is not, or not yet, authenticated."""
    audit.record(
        actor=SYSTEM, action=action, target_type="staff", target_id=username or _UNKNOWN, data=data
    )


def _who(request: HttpRequest) -> StaffUser | None:
    """The named account, if it exists. Any other typed name is never stored: it may be a password
    in the wrong field."""
    typed = StaffUser.normalize_username(request.POST.get("username", "").strip())
    if not typed or "\0" in typed:
        return None
    return StaffUser.objects.filter(username=typed).first()


def _why_not(person: StaffUser | None) -> str:
    """The reason without checking the password again: the time that takes would reveal which names
    exist."""
    if person is None:
        return "no such account"
    if not person.is_active:
        return "switched off"
    return "wrong password" if person.is_staff else "not staff"


@never_cache
def console_login(request: HttpRequest) -> HttpResponse:
    """Django's login page; too many tries give 429, and an unavailable counter gives 503."""
    if request.method != "POST":
        return admin.site.login(request)
    person = _who(request)
    known = person.get_username() if person else ""
    # A known browser has tries of its own: guesses from elsewhere use up the others.
    device = _known_device(request, person)
    account = (lambda _group, _request: f"{known} {device}") if device else _account
    limits = (("address", _address, PER_ADDRESS), ("account", account, PER_ACCOUNT))
    refused = _limited(request, "console-login", limits, known)
    if refused is not None:
        return refused
    answer = admin.site.login(request)
    if answer.status_code == 302 and request.user.is_authenticated:
        actor = Actor.staff(request.user)
        _remember_device(request, answer, request.user)
        audit.record(actor=actor, action="staff.logged_in", target_type="staff", target_id=actor.id)
    else:
        _record("staff.login_failed", known, {"why": _why_not(person)})
    return answer


def console_logout(request: HttpRequest) -> HttpResponse:
    """Django's logout."""
    actor = Actor.staff(request.user) if request.user.is_authenticated else None
    answer = admin.site.logout(request)
    if actor is not None and not request.user.is_authenticated:
        audit.record(
            actor=actor, action="staff.logged_out", target_type="staff", target_id=actor.id
        )
    return answer


def console_password_change(request: HttpRequest) -> HttpResponse:
    """Change one's own password; other sessions end with the old one (wrapped in ``admin_view``).

    Limited, so that a person at somebody else's open console cannot guess the old password for
    long.
    """
    if request.method != "POST":
        return admin.site.password_change(request)
    name = request.user.get_username()
    limits = (("account", _own_account, PER_ACCOUNT),)
    refused = _limited(request, "console-password", limits, name)
    if refused is not None:
        return refused
    with transaction.atomic():
        before = StaffUser.objects.get(username=name).password
        answer = admin.site.password_change(request)
        person = StaffUser.objects.get(username=name)
        if person.password != before:
            staff.record_password(actor=Actor.staff(person), person=person)
    return answer
