"""Kite's instrument dump: CSV with a header, every segment mixed (reference/brokers.md section 2).

``instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,
instrument_type,segment,exchange``
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal

from brokers import wire
from brokers.base import InstrumentRow
from brokers.underlyings import INDEX_UNDERLYINGS, underlying_of_symbol

Parsed = InstrumentRow | None

_SEGMENTS = {"NFO-OPT": "NFO", "NFO-FUT": "NFO", "BFO-OPT": "BFO", "BFO-FUT": "BFO"}


def parse(lines: Iterable[str]) -> Iterator[Parsed]:
    """Rows of index derivatives as they are read; None for a broken one."""
    try:
        for row in csv.DictReader(lines, restval=""):
            if row.get("segment") not in _SEGMENTS:
                continue
            # Older dumps leave the name of the underlying empty.
            symbol = row.get("tradingsymbol", "")
            underlying = row.get("name") or underlying_of_symbol(symbol)
            if underlying in INDEX_UNDERLYINGS:
                yield _row(row, underlying)
    except csv.Error:
        yield None  # a field of absurd length or a NUL: nothing after it can be trusted


def _row(row: dict[str, str], underlying: str) -> Parsed:
    expiry = wire.read_day(row.get("expiry", ""))
    strike = wire.read_decimal(row.get("strike", ""))
    lot_size = wire.read_int(row.get("lot_size", ""))
    tick_size = wire.read_price(row.get("tick_size", ""))
    kind = row.get("instrument_type", "")
    symbol = wire.clean_text(row.get("tradingsymbol", ""), 60)
    token = row.get("instrument_token", "")
    exchange_token = row.get("exchange_token", "")
    if kind not in ("CE", "PE", "FUT") or not symbol or not token.isdigit():
        return None
    if expiry is None or strike is None or tick_size is None or lot_size is None or lot_size <= 0:
        return None
    if not exchange_token.isdigit() or (kind != "FUT" and strike <= 0):
        return None
    return InstrumentRow(
        exchange=_SEGMENTS[row["segment"]],
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
