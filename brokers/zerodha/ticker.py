"""Kite's websocket: frames out, frames in. Pure.

Text frames are JSON (``{"a": "subscribe", "v": [token]}``, ``{"a": "mode", "v": ["full",
[token]]}``). Prices come in binary frames: two bytes with the number of packets, then for each
packet two bytes with its length and the packet. Everything is big-endian; prices are in paise. The
length of a packet determines its content: 8 the last price alone, 28 and 32 an index (the longer
one with the exchange's time), 44 a quote without depth, 184 everything. A single byte keeps the
connection alive. 3,000 instruments per connection, 3 connections per application. Source:
https://kite.trade/docs/connect/v3/websocket/.
"""

from __future__ import annotations

import datetime as dt
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from brokers import wire_values
from brokers.base import BrokerInstrument, Session
from brokers.price_updates import LoggedIn, Name, Touchline

#: Instruments of one subscription frame.
CHUNK: Final = 500
_COUNT: Final = struct.Struct(">H")
_LTP: Final = 8
_INDEX: Final = 28
_INDEX_FULL: Final = 32
_QUOTE: Final = 44
_FULL: Final = 184
#: The last byte of a token is its segment. NSE, NFO, BSE, BFO and the indices are in paise; others
#: (currencies) have more decimals, and we trade none of them.
_SEGMENTS: Final = frozenset({1, 2, 4, 5, 9})
_HEAD: Final = struct.Struct(">Ii")
_TIME: Final = struct.Struct(">i")
_TRADED_AT: Final = 44
_EXCHANGE_AT: Final = 60
_INDEX_AT: Final = 28
#: Price of the best buyer, and of the best seller: quantity, price, orders, 12 bytes a level.
_BID: Final = 68
_ASK: Final = 128
_EPOCH: Final = (1_000_000_000, 9_999_999_999)


def path(session: Session) -> str:
    """The path; its query identifies the caller."""
    return "/?" + urlencode({"api_key": session.api_key, "access_token": session.access_token})


class KitePrices:
    """Kite as a :class:`brokers.price_updates.PriceStream`."""

    beat = ""
    most = 3000

    def path(self, session: Session) -> str:
        """The path, which contains the session."""
        return path(session)

    def hello(self, session: Session) -> str:
        """Empty, because the URL suffices."""
        return ""

    def name(self, instrument: BrokerInstrument) -> Name:
        """The token alone: indices of all exchanges are one segment."""
        return "", instrument.token

    def subscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames in full mode: otherwise a price has no time."""
        for tokens in _chunks(instruments):
            yield _frame("subscribe", tokens)
            yield _frame("mode", ["full", tokens])

    def unsubscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that unsubscribe."""
        for tokens in _chunks(instruments):
            yield _frame("unsubscribe", tokens)

    def read(
        self, frame: str | bytes, known: Mapping[Name, Touchline]
    ) -> LoggedIn | Sequence[Touchline]:
        """Every packet that contains more than its last price; text frames are orders or errors."""
        if isinstance(frame, str):
            return ()
        lines = (_touchline(packet, known) for packet in packets(frame))
        return [line for line in lines if line is not None]


def packets(frame: bytes) -> Iterator[bytes]:
    """The packets of a binary frame; a truncated one is omitted."""
    if len(frame) < _COUNT.size:
        return  # a heartbeat
    (count,) = _COUNT.unpack_from(frame)
    start = _COUNT.size
    for _ in range(count):
        if start + _COUNT.size > len(frame):
            return
        (length,) = _COUNT.unpack_from(frame, start)
        start += _COUNT.size
        packet = frame[start : start + length]
        start += length
        if len(packet) < length:
            return
        yield packet


def _touchline(packet: bytes, known: Mapping[Name, Touchline]) -> Touchline | None:
    if len(packet) not in (_LTP, _INDEX, _INDEX_FULL, _QUOTE, _FULL):
        return None
    token, paise = _HEAD.unpack_from(packet)
    last = _rupees(paise)
    if token & 0xFF not in _SEGMENTS or last is None:
        return None
    name = ("", str(token))
    before = known.get(name) or Touchline(*name)
    if len(packet) == _FULL:
        return Touchline(
            *name,
            last=last,
            bid=_price(packet, _BID),
            ask=_price(packet, _ASK),
            at=_time(packet, _EXCHANGE_AT) or before.at,
            traded_at=_time(packet, _TRADED_AT),
        )
    if len(packet) == _INDEX_FULL:
        at = _time(packet, _INDEX_AT) or before.at
        return Touchline(*name, last=last, at=at, traded_at=at)
    # Without a time of its own: as old as the previous one, and not a trade whose time we know.
    same = last == before.last
    return Touchline(
        *name,
        last=last,
        bid=before.bid,
        ask=before.ask,
        at=before.at,
        traded_at=before.traded_at if same else None,
    )


def _rupees(paise: int) -> Decimal | None:
    return wire_values.read_price(Decimal(paise).scaleb(-2))


def _price(packet: bytes, start: int) -> Decimal | None:
    (paise,) = _TIME.unpack_from(packet, start)
    return _rupees(paise)


def _time(packet: bytes, start: int) -> dt.datetime | None:
    (seconds,) = _TIME.unpack_from(packet, start)
    if not _EPOCH[0] <= seconds <= _EPOCH[1]:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _chunks(instruments: Sequence[BrokerInstrument]) -> Iterator[list[int]]:
    tokens = [int(instrument.token) for instrument in instruments if _is_token(instrument.token)]
    for start in range(0, len(tokens), CHUNK):
        yield tokens[start : start + CHUNK]


def _is_token(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _frame(action: str, value: object) -> str:
    return json.dumps({"a": action, "v": value}, separators=(",", ":"))
