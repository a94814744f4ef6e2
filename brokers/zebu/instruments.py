"""Noren's symbol master (``NFO_symbols.txt``): CSV with a header (reference/brokers.md section 5).

``Exchange,Token,LotSize,Symbol,TradingSymbol,Expiry,Instrument,OptionType,StrikePrice,TickSize,``
A real file ends its lines in a comma and may begin with blank contracts. On BSE's exchange the
``Symbol`` is a product code (``BSXOPT``), so there the trading symbol names the underlying.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal

from brokers import wire
from brokers.base import InstrumentRow
from brokers.underlyings import INDEX_UNDERLYINGS, underlying_of_symbol

Parsed = InstrumentRow | None

_EXCHANGES = frozenset({"NFO", "BFO"})
_INDEX_INSTRUMENTS = frozenset({"OPTIDX", "FUTIDX"})
_TYPES = {"CE": "CE", "PE": "PE", "XX": "FUT", "": "FUT"}


def parse(lines: Iterable[str]) -> Iterator[Parsed]:
    """Rows of index derivatives as they are read; None for a broken one."""
    try:
        for row in csv.DictReader(lines, restval=""):
            kind = row.get("Instrument", "")
            if kind in _INDEX_INSTRUMENTS:
                underlying = _underlying(row)
                if underlying in INDEX_UNDERLYINGS:
                    yield _row(row, kind, underlying)
            elif not kind:
                yield None  # a blank contract
    except csv.Error:
        yield None  # a field of absurd length or a NUL: nothing after it can be trusted


def _underlying(row: dict[str, str]) -> str:
    symbol = row.get("Symbol", "")
    return (
        symbol
        if symbol in INDEX_UNDERLYINGS
        else underlying_of_symbol(row.get("TradingSymbol", ""))
    )


def _row(row: dict[str, str], kind: str, underlying: str) -> Parsed:
    symbol = wire.clean_text(row.get("TradingSymbol", ""), 60)
    exchange = row.get("Exchange", "")
    token = row.get("Token", "")
    option_type = _TYPES.get(row.get("OptionType", ""), "")
    expiry = wire.read_day(row.get("Expiry", ""))
    strike = wire.read_decimal(row.get("StrikePrice", ""))
    lot_size = wire.read_int(row.get("LotSize", ""))
    tick_size = wire.read_price(row.get("TickSize", ""))
    future = kind == "FUTIDX"
    if exchange not in _EXCHANGES or not symbol or not token.isdigit() or expiry is None:
        return None
    if lot_size is None or lot_size <= 0 or tick_size is None:
        return None
    if (option_type == "FUT") != future or (not future and (strike is None or strike <= 0)):
        return None
    return InstrumentRow(
        exchange=exchange,
        underlying=underlying,
        expiry=expiry,
        strike=Decimal(0) if future or strike is None else strike,
        option_type=option_type,
        lot_size=lot_size,
        tick_size=tick_size,
        symbol=symbol,
        token=token,
        exchange_token=token,
    )
