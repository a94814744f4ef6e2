"""What brokers tell by themselves, over a websocket: what the ways of it have in common. Pure."""

from __future__ import annotations

from typing import Protocol

from yarl import URL

from brokers.base import Session


class Spoken(Protocol):
    """One broker's way. Stateless; no method raises on what a broker sent.

    ``beat`` is the frame that keeps a connection alive ('' where the protocol's own ping does).
    """

    beat: str

    def path(self, session: Session) -> str:
        """Path and query of the websocket. It may hold the session's token: never log it."""

    def hello(self, session: Session) -> str:
        """The first frame, '' where the address says it all and the connection is ready at once."""


class Refused(Exception):
    """The broker does not let this session in."""


def address(spoken: Spoken, base_url: str, session: Session) -> URL:
    """Where a session's websocket is, below the broker's ``base_url``. Never log its query."""
    scheme = "wss" if base_url.startswith("https") else "ws"
    return URL(base_url + spoken.path(session), encoded=True).with_scheme(scheme)
