"""What the brokers' websocket protocols have in common. Pure."""

from __future__ import annotations

from typing import Protocol

from yarl import URL

from brokers.base import Session


class Spoken(Protocol):
    """One broker's protocol. Stateless; no method raises on what a broker sent.

    ``beat`` is the frame that keeps a connection alive ('' if the protocol's own ping does).
    """

    beat: str

    def path(self, session: Session) -> str:
        """Path and query of the websocket. It may contain the session's token: never log it."""

    def hello(self, session: Session) -> str:
        """The first frame; '' if the URL suffices and the connection is ready at once."""


class Refused(Exception):
    """The broker refuses this session."""


def address(spoken: Spoken, base_url: str, session: Session) -> URL:
    """The URL of a session's websocket, below the broker's ``base_url``. Never log its query."""
    scheme = "wss" if base_url.startswith("https") else "ws"
    return URL(base_url + spoken.path(session), encoded=True).with_scheme(scheme)
