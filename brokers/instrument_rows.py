"""Results of reading a broker's instrument file, line by line. Pure.

An adapter reads the lines (:meth:`brokers.base.BrokerAdapter.parse_instruments`);
:mod:`brokers.services.instruments` imports them.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """One contract of a broker's instrument file, normalised.

    ``tick_size`` and ``strike`` in rupees, ``lot_size`` in units. ``option_type`` is CE, PE or FUT
    (strike 0 for FUT). ``symbol`` and ``token`` are the broker's own names.
    """

    exchange: str
    underlying: str
    expiry: dt.date
    strike: Decimal
    option_type: str
    lot_size: int
    tick_size: Decimal
    symbol: str
    token: str
    exchange_token: str


@dataclass(frozen=True, slots=True)
class UnknownProduct:
    """A contract line with an unknown product code; ``exchange`` and ``code`` as listed."""

    exchange: str
    code: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The list cannot be read from here on, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownColumn:
    """An unknown column name in a list's first line."""

    name: str


#: The result of one line; None for an invalid one.
Listed = InstrumentRow | UnknownProduct | UnknownColumn | Unreadable | None


class InstrumentStream(Iterator[InstrumentRow]):
    """The usable rows of an instrument file as they are read, and statistics of the rest.

    ``read`` counts lines about index derivatives, ``skipped`` the invalid ones among them (blank,
    unparseable), ``unknown`` the lines of unknown product codes by exchange and code;
    ``unknown_columns`` are unknown names in the first line. ``problem`` says why the file as a
    whole cannot be read, if so. All are final at exhaustion.
    """

    def __init__(self, listed: Iterator[Listed]) -> None:
        """``listed`` yields the result of each line."""
        self._listed = listed
        self.read = 0
        self.skipped = 0
        self.unknown: Counter[tuple[str, str]] = Counter()
        self.unknown_columns: list[str] = []
        self.problem = ""

    def __next__(self) -> InstrumentRow:
        for line in self._listed:
            if isinstance(line, UnknownProduct):
                self.unknown[(line.exchange, line.code)] += 1
                continue
            if isinstance(line, UnknownColumn):
                self.unknown_columns.append(line.name)
                continue
            if isinstance(line, Unreadable):
                self.problem = line.reason
                break
            self.read += 1
            if line is not None:
                return line
            self.skipped += 1
        raise StopIteration
