"""Kite's instrument dump: CSV with a header, every segment mixed.

``instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,
instrument_type,segment,exchange`` (https://kite.trade/docs/connect/v3/market-quotes/#instruments).
``name`` is the product code of a derivative. The dump does not distinguish an index from a stock,
so every stock is an unknown product; dumps from before 2018 leave the name empty, and such a line
is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from brokers import wire_values
from brokers.instrument_rows import InstrumentRow, Listed, UnknownColumn, UnknownProduct, Unreadable
from brokers.listing import Row, read_rows
from brokers.underlyings import KITE_PRODUCTS

_COLUMNS: Final = (
    *("instrument_token", "exchange_token", "tradingsymbol", "name", "expiry", "strike"),
    *("tick_size", "lot_size", "instrument_type", "segment"),
)
_ALSO: Final = ("last_price", "exchange")
_SEGMENTS: Final = {"NFO-OPT": "NFO", "NFO-FUT": "NFO", "BFO-OPT": "BFO", "BFO-FUT": "BFO"}


def parse(lines: Iterable[str]) -> Iterator[Listed]:
    """The result of each line about derivatives; other segments are skipped."""
    for row in read_rows(lines, _COLUMNS, also=_ALSO):
        if row is None or isinstance(row, UnknownColumn | Unreadable):
            yield row
            continue
        exchange = _SEGMENTS.get(row["segment"])
        if exchange is None:
            continue
        underlying = KITE_PRODUCTS.get((exchange, row["name"]))
        if underlying is None:
            yield UnknownProduct(exchange, wire_values.clean_text(row["name"], 40))
        else:
            yield _row(row, exchange, underlying)


def _row(row: Row, exchange: str, underlying: str) -> InstrumentRow | None:
    expiry = wire_values.read_day(row["expiry"])
    strike = wire_values.read_decimal(row["strike"])
    lot_size = wire_values.read_int(row["lot_size"])
    tick_size = wire_values.read_price(row["tick_size"])
    kind = row["instrument_type"]
    symbol = wire_values.clean_text(row["tradingsymbol"], 60)
    token = row["instrument_token"]
    exchange_token = row["exchange_token"]
    if kind not in ("CE", "PE", "FUT") or not symbol or not _is_number(token):
        return None
    if expiry is None or strike is None or tick_size is None or lot_size is None or lot_size <= 0:
        return None
    if not _is_number(exchange_token) or (kind != "FUT" and strike <= 0):
        return None
    if (kind == "FUT") != row["segment"].endswith("-FUT"):
        return None
    return InstrumentRow(
        exchange=exchange,
        underlying=underlying,
        expiry=expiry,
        strike=strike if kind != "FUT" else Decimal(0),
        option_type=kind,
        lot_size=lot_size,
        tick_size=tick_size,
        symbol=symbol,
        token=token,
        exchange_token=exchange_token,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
