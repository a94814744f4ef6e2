"""Kite's order updates: text frames of its websocket, ``{"type": "order", "data": {…}}``. Pure.

They come unasked, for every order of the client, with the fields of a row of the order book (like
its postbacks). Source: https://kite.trade/docs/connect/v3/websocket/ and
https://kite.trade/docs/connect/v3/postbacks/.
"""

from __future__ import annotations

from brokers import wire_values
from brokers.base import Session
from brokers.order_updates import MAX_FRAME, NOTHING, Said
from brokers.zerodha import parsing, ticker


class KiteUpdates:
    """Kite as :class:`brokers.order_updates.OrderUpdates`."""

    beat = ""

    def path(self, session: Session) -> str:
        """The path, which contains the session."""
        return ticker.path(session)

    def hello(self, session: Session) -> str:
        """Empty, because the URL suffices."""
        return ""

    def read(self, frame: str | bytes, session: Session) -> Said:
        """An order; binary frames are prices or a heartbeat."""
        if not isinstance(frame, str):
            return NOTHING
        message = wire_values.read_object(frame.encode("utf-8", "replace"), MAX_FRAME)
        if message is None or message.get("type") != "order":
            return NOTHING
        row = message.get("data")
        if not isinstance(row, dict):
            return NOTHING
        for owner in (row.get("user_id"), row.get("account_id")):
            said = wire_values.clean_text(owner, 40)
            if said and said.upper() != session.client_id.upper():
                return NOTHING
        return Said(order=parsing.read_order(row))
