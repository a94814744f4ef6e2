"""The page to which brokers send a browser after a login: ``/broker-login/done``.

For a feed account it finishes the login that a member of staff began in the console. Other people
arrive here by mistake, if a broker's application is registered with our address instead of their
partner's; the page tells them so. Nothing is stored without a state or session of ours, and the
code leaves the address bar with the next page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from brokers import wire_values
from brokers.errors import FeedLoginLost
from brokers.models import FeedAccount
from brokers.services import feeds
from quantleap.core import clock
from quantleap.core.audit import Actor
from quantleap.core.console import page_of
from quantleap.core.dates import moment_text
from quantleap.core.errors import DomainError

log = structlog.get_logger(__name__)

PERMISSION: Final = "brokers.change_feedaccount"
#: The brokers' names for the code: Kite, Noren, Angel.
_CODES: Final = ("request_token", "code", "auth_token")
#: The brokers' names for the reason if there is no code.
_REASONS: Final = ("error_description", "message", "error", "emsg")


@dataclass(frozen=True, slots=True)
class Return:
    """The content of a broker's redirect; ``refused`` is why there is no login, if so."""

    code: str
    state: str
    refused: str

    @classmethod
    def read(cls, query: QueryDict) -> Return:
        """Read the query; a value that does not look like a code or state counts as absent."""
        given = {name: str(query.get(name, "")) for name in query}
        code = next((given[name] for name in _CODES if given.get(name)), "")
        status = wire_values.clean_text(given.get("status", ""), 40)
        reason = wire_values.first(
            given, lambda value: wire_values.clean_text(value, 200), *_REASONS
        )
        refused = ""
        if reason or status.lower() not in ("", "success"):
            refused = reason or status
        return cls(code=code[:600], state=given.get("state", "")[:200], refused=refused)

    @property
    def says_anything(self) -> bool:
        """Whether the redirect came from a broker at all."""
        return bool(self.code or self.refused)


@never_cache
@require_GET
def broker_login_done(request: HttpRequest) -> HttpResponse:
    """Finish a feed account's login, or tell other visitors what to do."""
    came = Return.read(request.GET)
    user = request.user
    if not (user.is_authenticated and user.is_active and user.is_staff):
        return _page(request, **_stranger(came))
    if not user.has_perm(PERMISSION):
        return _page(
            request,
            status=403,
            title="You may not log in feed accounts",
            sentences=["Ask an administrator for the right to change feed accounts."],
        )
    try:
        feed = feeds.spend_feed_login(
            state=came.state, session_key=request.session.session_key or "", now=clock.now()
        )
    except FeedLoginLost as error:
        return _no_login_page(request, came, error.message)
    return _finish(request, came, feed)


def _finish(request: HttpRequest, came: Return, feed: FeedAccount) -> HttpResponse:
    broker = feed.get_broker_display()
    if came.refused or not came.code:
        log.warning("feed_login_cancelled", feed=feed.pk, said=came.refused)
        said = f"{broker} says: {came.refused}." if came.refused else ""
        sentences = [f"{broker} did not log {feed.client_id} in.", said, "Nothing has changed."]
        return _failed(request, feed, "The login was cancelled or refused", sentences, 400)
    try:
        feeds.complete_feed_login(
            feed=feed, code=came.code, actor=Actor.staff(request.user), now=clock.now()
        )
    except DomainError as error:
        log.warning("feed_login_failed", feed=feed.pk, why=error.message)
        sentences = [f"{feed} is not logged in at {broker}.", f"{error.message.rstrip('.')}."]
        return _failed(request, feed, "The login did not succeed", sentences, error.status)
    expires = feed.token_expires_at
    until = f" until {moment_text(expires, year=False)}" if expires else ""
    messages.success(request, f"{feed} is logged in at {broker}{until}.")
    return HttpResponseRedirect(page_of(feed))


def _failed(
    request: HttpRequest, feed: FeedAccount, title: str, sentences: list[str], status: int
) -> HttpResponse:
    return _page(
        request,
        status=status,
        title=title,
        sentences=[sentence for sentence in sentences if sentence],
        links=[
            ("Log in again", reverse("admin:brokers_feedaccount_log_in", args=[feed.pk])),
            (f"Back to {feed}", page_of(feed)),
        ],
    )


def _no_login_page(request: HttpRequest, came: Return, why: str) -> HttpResponse:
    """The page for staff whose redirect fits no login that they began here."""
    begin = "A feed account's login begins on its page: Log in at the broker."
    return _page(
        request,
        status=400 if came.says_anything else 200,
        title="There is no login to finish here",
        sentences=[why, begin] if why == feeds.NOTHING_BEGUN else [why],
        links=[("Feed accounts", reverse("admin:brokers_feedaccount_changelist"))],
    )


def _stranger(came: Return) -> dict[str, object]:
    """The page for people without a console session: customers, or staff who were logged out."""
    console = [("Console", reverse("admin:brokers_feedaccount_changelist"))]
    if came.refused:
        return {
            "title": "Your broker did not log you in",
            "sentences": [
                f"It says: {came.refused}.",
                "Go back to the page or app in which you began, and try again from there.",
            ],
            "status": 400,
        }
    if not came.code:
        return {
            "title": "Nothing to do here",
            "sentences": ["Brokers send people to this page after a login. You can close it."],
            "links": console,
        }
    return {
        "title": "Your broker has logged you in, but we do not know for which app",
        "sentences": [
            "This page does not know where you began, so nothing was stored. Go back to the page "
            "or app in which you began; it will ask you to log in again.",
            "If you arrive here again, tell the people who run it: the redirect address of their "
            "application at the broker leads here and should lead to their own page.",
            "If you work here: log in to the console first, at exactly the address that is "
            "registered at the broker, and begin the feed account's login there.",
        ],
        "links": console,
        "status": 400,
    }


def _page(
    request: HttpRequest,
    *,
    title: object,
    sentences: object,
    links: object = (),
    status: object = 200,
) -> HttpResponse:
    shown = {"title": title, "sentences": sentences, "links": links}
    response = render(request, "brokers/landing.html", shown, status=int(str(status)))
    # The address contains a login code: keep it out of the next site's log (no referrer).
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
