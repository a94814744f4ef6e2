"""``/confirm-email``: the page of a mailed link, without a login.

A GET shows the page and changes nothing, because mail scanners open every link before a person
does. Only the button's POST confirms. It needs no cookie and no CSRF token, because nothing but the
token in the link gives it any right.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from partners.emails.confirmations import Look, Standing, confirm, look
from quantleap.core import clock

_CLOSE: Final = "You can close this page."
#: Status, heading and sentences; ``{email}`` is the address to which the link was mailed.
_SAYS: Final[dict[Standing, tuple[int, str, tuple[str, ...]]]] = {
    Standing.OPEN: (
        200,
        "Is this your e-mail address?",
        ("{email}", "Invoices for the strategies that you follow come to it."),
    ),
    Standing.DONE: (200, "Your e-mail address is confirmed", ("{email}", _CLOSE)),
    Standing.EXPIRED: (
        410,
        "This link has expired",
        (
            "It worked for a week. Nothing was changed.",
            "Ask the people with whom you follow strategies for a new one.",
        ),
    ),
    Standing.REPLACED: (
        410,
        "This link is for an earlier address",
        (
            "The address has been replaced since. Nothing was changed.",
            "A newer link was mailed to that one.",
        ),
    ),
    Standing.UNKNOWN: (
        404,
        "This link does not work",
        ("It may be cut off: copy it whole from the mail, on one line. Nothing was changed.",),
    ),
}


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def confirm_email(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation, or confirm if somebody pressed the button."""
    now = clock.now()
    if request.method == "POST":
        return _page(request, confirm(token=request.POST.get("token", ""), now=now), "")
    token = request.GET.get("token", "")
    return _page(request, look(token, now), token)


def _page(request: HttpRequest, link: Look, token: str) -> HttpResponse:
    status, title, sentences = _SAYS[link.standing]
    email = link.confirmation.email if link.confirmation else ""
    shown = {
        "title": title,
        "sentences": [sentence.format(email=email) for sentence in sentences],
        "token": token if link.standing is Standing.OPEN else "",
    }
    response = render(request, "partners/confirm_email.html", shown, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"  # the URL contains the token
    return response
