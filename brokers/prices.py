"""Prices that brokers send by themselves over a websocket: frames out, frames in. Pure."""

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
from brokers.spoken import Spoken

#: Larger frames are not read.
MAX_FRAME: Final = 1024 * 1024

#: By which a broker's frames name an instrument: exchange ('' where they do not say) and token.
Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The answer to the first frame."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Touchline:
    """Prices (rupees) of one instrument; ``at`` the exchange's time, None as long as none came.

    ``traded_at`` is when ``last`` was traded: as the broker says, or (Noren's touchline does not
    say) when it changed under our eyes.
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
        """Exchange and token: what a subscription is known by."""
        return self.exchange, self.token


class PriceStream(Spoken, Protocol):
    """One broker's way to send prices; ``most`` is how many instruments one connection carries."""

    most: int

    def name(self, instrument: BrokerInstrument) -> Name:
        """By what its frames name an instrument."""

    def subscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that ask for prices of ``instruments``."""

    def unsubscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that end them."""

    def read(
        self, frame: str | bytes, known: Mapping[Name, Touchline]
    ) -> LoggedIn | Sequence[Touchline]:
        """The prices in a frame, laid upon those in ``known`` where it tells of changes alone."""


_SPOKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zebu": "brokers.zebu.touchline.NorenPrices",
        "zerodha": "brokers.zerodha.ticker.KitePrices",
    }
)


@functools.cache
def get_prices(kind: str) -> PriceStream | None:
    """How ``kind`` sends prices, None where we do not speak it."""
    spoken: PriceStream | None = speaker(_SPOKEN, kind)
    return spoken
