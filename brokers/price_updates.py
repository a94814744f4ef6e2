"""Prices that brokers send over a websocket: frames out, frames in. Pure."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

from brokers.base import BrokerInstrument
from brokers.registry import speaker
from brokers.websocket_frames import Spoken

#: Larger frames are not read.
MAX_FRAME: Final = 1024 * 1024

#: A frame's identification of an instrument: exchange ('' if frames omit it) and token.
Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The answer to the first frame."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Touchline:
    """Prices (rupees) of one instrument; ``at`` is the exchange's time, None until one came.

    ``traded_at`` is when ``last`` was traded: as the broker says, or (Noren's touchline does not
    say) when we saw it change.
    """

    exchange: str
    token: str
    last: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    at: dt.datetime | None = None
    traded_at: dt.datetime | None = None

    @property
    def name(self) -> Name:
        """Exchange and token, which identify a subscription."""
        return self.exchange, self.token


class PriceStream(Spoken, Protocol):
    """One broker's price protocol; ``most`` is how many instruments one connection carries."""

    most: int

    def name(self, instrument: BrokerInstrument) -> Name:
        """The name of an instrument in the broker's frames."""

    def subscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that subscribe to prices of ``instruments``."""

    def unsubscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that unsubscribe."""

    def read(
        self, frame: str | bytes, known: Mapping[Name, Touchline]
    ) -> LoggedIn | Sequence[Touchline]:
        """The prices in a frame, merged into those in ``known`` if it contains only changes."""


_SPOKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zebu": "brokers.zebu.touchline.NorenPrices",
        "zerodha": "brokers.zerodha.ticker.KitePrices",
    }
)


@functools.cache
def get_prices(kind: str) -> PriceStream | None:
    """The price protocol of ``kind``, None if we do not support it."""
    spoken: PriceStream | None = speaker(_SPOKEN, kind)
    return spoken
