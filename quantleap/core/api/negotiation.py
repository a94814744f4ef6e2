"""Choice of an answer's media type: the ``Accept`` header decides where a route has several."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class OwnTypeNegotiation(DefaultContentNegotiation):
    """Lets ``Accept`` choose among a route's types, and disregards a header that names none of
    them.

    RFC 9110, section 12.5.1, allows that. Clients send an empty header, ``text/html`` or
    ``application/octet-stream`` without meaning it, and a 406 would keep an invoice from them.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The best match, or else the route's first type."""
        known = list(renderers)
        try:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(
                request, known, format_suffix
            )
        except NotAcceptable:
            return known[0], known[0].media_type or ""
        return chosen
