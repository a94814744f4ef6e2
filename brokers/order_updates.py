"""Order updates that brokers send over a websocket: frames out, frames in. Pure.

An update is a row of the order book and is parsed by the same code, so it proves as much as a row
of the book does. The absence of updates proves nothing: the book is still read, at a slower pace
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
from brokers.websocket_frames import Spoken

#: Larger frames are not read: an update is one order.
MAX_FRAME: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Said:
    """The content of one frame: an ``order``; that updates come from now on (``ready``); a frame to
    send back at once (``reply``); or why the broker refuses us (``refused``)."""

    order: OrderReport | None = None
    ready: bool = False
    reply: str = ""
    refused: str = ""


#: A frame that is not for us, or that nobody can read.
NOTHING: Final = Said()


class OrderUpdates(Spoken, Protocol):
    """One broker's protocol for order updates."""

    def read(self, frame: str | bytes, session: Session) -> Said:
        """The content of a frame for ``session``'s owner; another client's order gives nothing."""


_SPOKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zebu": "brokers.zebu.order_stream.NorenUpdates",
        "zerodha": "brokers.zerodha.order_stream.KiteUpdates",
    }
)


@functools.cache
def get_updates(kind: str) -> OrderUpdates | None:
    """The update protocol of ``kind``, None if we do not support it."""
    spoken: OrderUpdates | None = speaker(_SPOKEN, kind)
    return spoken
