"""Noren's symbol master (``NFO_symbols.txt``): CSV with a header.

``Exchange,Token,LotSize,Symbol,TradingSymbol,Expiry,Instrument,OptionType,StrikePrice,TickSize,``
A real file ends its lines in a comma and may begin with blank contracts; some brokers' BFO files
call the strike's column ``Strike`` (Zebu's and TradeSmart's, read so by
https://github.com/marketcalls/openalgo). ``Symbol`` is the product code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from brokers import wire_values
from brokers.instrument_rows import InstrumentRow, Listed, UnknownColumn, UnknownProduct, Unreadable
from brokers.listing import Row, read_rows
from brokers.underlyings import NOREN_PRODUCTS

_COLUMNS: Final = (
    *("Exchange", "Token", "LotSize", "Symbol", "TradingSymbol"),
    *("Expiry", "Instrument", "OptionType", "StrikePrice", "TickSize"),
)
_SYNONYMS: Final = {"Strike": "StrikePrice"}
_INDEX_INSTRUMENTS: Final = frozenset({"OPTIDX", "FUTIDX"})
_TYPES: Final = {"CE": "CE", "PE": "PE", "XX": "FUT", "": "FUT"}


def parse(lines: Iterable[str]) -> Iterator[Listed]:
    """The result of each line about index derivatives; other lines are skipped."""
    for row in read_rows(lines, _COLUMNS, synonyms=_SYNONYMS):
        if row is None or isinstance(row, UnknownColumn | Unreadable):
            yield row
            continue
        kind = row["Instrument"]
        if kind in _INDEX_INSTRUMENTS:
            exchange, code = row["Exchange"], row["Symbol"]
            underlying = NOREN_PRODUCTS.get((exchange, code))
            if underlying is None:
                yield UnknownProduct(
                    wire_values.clean_text(exchange, 10), wire_values.clean_text(code, 40)
                )
            else:
                yield _row(row, kind, underlying)
        elif not kind:
            yield None  # a blank contract


def _row(row: Row, kind: str, underlying: str) -> InstrumentRow | None:
    symbol = wire_values.clean_text(row["TradingSymbol"], 60)
    token = row["Token"]
    option_type = _TYPES.get(row["OptionType"], "")
    expiry = wire_values.read_day(row["Expiry"])
    strike = wire_values.read_decimal(row["StrikePrice"])
    lot_size = wire_values.read_int(row["LotSize"])
    tick_size = wire_values.read_price(row["TickSize"])
    future = kind == "FUTIDX"
    if not symbol or not (token.isascii() and token.isdigit()) or expiry is None:
        return None
    if lot_size is None or lot_size <= 0 or tick_size is None:
        return None
    if (option_type == "FUT") != future or (not future and (strike is None or strike <= 0)):
        return None
    return InstrumentRow(
        exchange=row["Exchange"],
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
