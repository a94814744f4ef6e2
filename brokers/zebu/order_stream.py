"""Noren's order updates, on the websocket that also carries prices. Pure.

After the login (``a``, answered ``ak``) the frame ``o`` subscribes to an account's orders (answered
``ok``); from then on every change of an order comes as ``om``, with the fields of a row of the
order book. Source: https://github.com/Shoonya-Dev/ShoonyaApi-py (Websocket API, Subscribe Order
Update).
"""

from __future__ import annotations

import json

from brokers import wire_values
from brokers.base import Session
from brokers.order_updates import MAX_FRAME, NOTHING, Said
from brokers.zebu import parsing, touchline


class NorenUpdates:
    """Noren as :class:`brokers.order_updates.OrderUpdates`."""

    beat = touchline.HEARTBEAT

    def path(self, session: Session) -> str:
        """The same path for everybody."""
        return touchline.PATH

    def hello(self, session: Session) -> str:
        """The login frame."""
        return touchline.login(session)

    def read(self, frame: str | bytes, session: Session) -> Said:
        """The login's answer, the subscription's, or an order."""
        body = frame.encode("utf-8", "replace") if isinstance(frame, str) else b""
        answer = wire_values.read_object(body, MAX_FRAME)
        if answer is None:
            return NOTHING
        match answer.get("t"):
            case "ak" | "ck":
                if str(answer.get("s", "")).upper() == "OK":
                    subscription = {"t": "o", "actid": session.client_id}
                    return Said(reply=json.dumps(subscription, separators=(",", ":")))
                words = wire_values.first(answer, wire_values.clean_text, "emsg", "s")
                return Said(refused=words or "not let in")
            case "ok":
                return Said(ready=True)
            case "om" if _is_of(session, answer.get("actid")) and _is_of(
                session, answer.get("uid")
            ):
                return Said(order=parsing.read_order(answer))
        return NOTHING


def _is_of(session: Session, client_id: object) -> bool:
    """Whether an update's owner, if it names one, is ours."""
    said = wire_values.clean_text(client_id, 40)
    return not said or said.upper() == session.client_id.upper()
