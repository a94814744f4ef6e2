"""Which representation an answer has: what was asked for where there is a choice, else the one."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class OwnTypeNegotiation(DefaultContentNegotiation):
    """``Accept`` chooses among a route's types; one that names none of them is disregarded.

    RFC 9110, section 12.5.1, leaves that to the server. Clients send an empty header, ``text/html``
    or ``application/octet-stream`` without meaning it, and a 406 would keep an invoice from them.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The best match, or the route's first type."""
        known = list(renderers)
        try:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(
                request, known, format_suffix
            )
        except NotAcceptable:
            return known[0], known[0].media_type or ""
        return chosen
