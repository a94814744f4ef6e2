"""How brokers tell of an order by themselves, over a websocket: frames out, frames in. Pure.

What comes is a row of the order book and is read by the same reader, so it proves as much as a row
of the book does. That nothing comes proves nothing: the book is still read, at a slower pace
(execution/engine/books/order_updates.py).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from brokers.base import OrderReport, Session
from brokers.registry import speaker
from brokers.spoken import Spoken

#: Larger frames are not read: an update is one order.
MAX_FRAME: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """What one frame says: an ``order`` as it stands; that updates come from now on (``ready``);
    what is to be answered at once (``reply``); or why the broker lets us not in (``refused``)."""

    order: OrderReport | None = None
    ready: bool = False
    reply: str = ""
    refused: str = ""


#: A frame that is not for us, or that nobody can read.
NOTHING: Final = Said()


class OrderUpdates(Spoken, Protocol):
    """One broker's way to tell of orders."""

    def read(self, frame: str | bytes, session: Session) -> Said:
        """What a frame says to ``session``'s owner; another client's order is nothing."""


_SPOKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zebu": "brokers.zebu.orderstream.NorenUpdates",
        "zerodha": "brokers.zerodha.orderstream.KiteUpdates",
    }
)


@functools.cache
def get_updates(kind: str) -> OrderUpdates | None:
    """How ``kind`` tells of orders, None where we do not speak it."""
    spoken: OrderUpdates | None = speaker(_SPOKEN, kind)
    return spoken
