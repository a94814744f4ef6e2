"""Error pages for people: what happened, what to do, and the id to report.

The API answers JSON instead (core.api.exceptions decides).

The page needs no database, no session and no user, because one of these may be what failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.template import loader
from django.urls import Resolver404, resolve

from quantleap.core import clock
from quantleap.core.console import CONSOLE
from quantleap.core.request_context import current_request_id


@dataclass(frozen=True, slots=True)
class Words:
    """The text of a page: a heading, its meaning, and what to do."""

    title: str
    meaning: str
    advice: str = ""


WORDS: Final[dict[int, Words]] = {
    400: Words(
        "This address cannot be read",
        "The page does not understand part of it. Nothing was changed.",
        "Go back and follow the link again, or open the list and filter it again.",
    ),
    403: Words(
        "You do not have access to this",
        "Your account does not have the right to see this page or to do this. Nothing was changed.",
        "If you need it for your work, ask an administrator for the right.",
    ),
    404: Words(
        "There is no such page",
        "The address is wrong, or the page no longer exists.",
    ),
    405: Words(
        "This page works with a button only",
        "Its address does nothing by itself. Nothing was changed.",
        "Go back and use the button on the page.",
    ),
    413: Words(
        "That was too large",
        "The form or file is larger than the console accepts. Nothing was saved.",
        "Go back: what you typed is still there. Send less.",
    ),
    429: Words(
        "Too many tries",
        "Somebody tried to log in too often, with this account or from this address.",
        "Wait a minute, then try again.",
    ),
    500: Words(
        "Something broke on our side",
        "What you did may or may not have been carried out: look before you do it again.",
        "The error was logged. If it happens again, report the id below.",
    ),
    503: Words(
        "The console cannot answer just now",
        "A service that it needs does not respond. Nothing was changed.",
        "Try again in a minute. If it lasts, report the id below.",
    ),
}
FORGED: Final = Words(
    "This form could not be checked",
    "The form was open while you logged in or out elsewhere, or the browser sent no cookie. "
    "Nothing was saved.",
    "Go back, reload the page and send it again. Cookies must be allowed for this site.",
)


def page(request: HttpRequest, status: int, words: Words | None = None) -> HttpResponse:
    """The page for ``status``, with the default text of that status unless ``words`` is given."""
    url, label = _way_back(request)
    shown = {
        "status": status,
        "words": words or WORDS.get(status, WORDS[500 if status >= 500 else 400]),
        "back": url,
        "back_label": label,
        "request_id": current_request_id(),
        "at": clock.to_ist(clock.now()),
    }
    return HttpResponse(loader.render_to_string("errors/page.html", shown), status=status)


def _way_back(request: HttpRequest) -> tuple[str, str]:
    """Address and label of the list to which the address belongs, or else of the first page."""
    parts = request.path.split("/")
    if request.path.startswith(CONSOLE) and len(parts) > 4 and parts[4]:
        section = "/".join([*parts[:4], ""])
        try:
            url_name = resolve(section).url_name or ""
        except (Resolver404, UnicodeError):
            url_name = ""
        if url_name.endswith("_changelist"):  # every other address there gives Django's own 404
            return section, "To the list"
    return CONSOLE, "To the first page"
