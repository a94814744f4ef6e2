"""First lines of contract lists: other names of columns, and names that nobody told us about."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.errors import InstrumentFileError
from brokers.instrument_rows import InstrumentStream
from brokers.registry import get_adapter
from brokers.services.instruments import import_instruments
from marketplace.tests.factories import load_reference_data
from quantleap.core.audit import SYSTEM

NOW = dt.datetime(2025, 9, 1, 3, 15, tzinfo=dt.UTC)
NOREN = (
    "Exchange,Token,LotSize,Symbol,TradingSymbol,Expiry,Instrument,OptionType,{strike},TickSize,"
)
ROWS = [
    f"BFO,{845000 + k},20,BSXOPT,SENSEX25SEP{81000 + 100 * k}CE,25-SEP-2025,OPTIDX,CE,"
    f"{81000 + 100 * k},0.05,"
    for k in range(5)
]


def read(strike: str) -> InstrumentStream:
    stream = get_adapter("zebu").parse_instruments([NOREN.format(strike=strike), *ROWS])
    stream.strikes = [row.strike for row in stream]  # type: ignore[attr-defined]
    return stream


@pytest.mark.parametrize("name", ["Strike", "StrikePrice", " Strike ", "\ufeffStrike"])
def test_a_bfo_file_with_the_header_strike_loses_no_row(name: str) -> None:
    """Bug: every row dropped."""
    stream = read(name)
    assert stream.strikes == [Decimal(81000 + 100 * k) for k in range(5)]  # type: ignore[attr-defined]
    assert (stream.read, stream.skipped, stream.unknown_columns) == (5, 0, [])


def test_an_unknown_name_for_strike_is_a_missing_column() -> None:
    """And an unknown column, which the error names."""
    stream = read("Strk")
    assert stream.problem == "the list has no column StrikePrice; unknown to us: Strk"


@pytest.mark.django_db
def test_the_import_names_the_header_it_does_not_know() -> None:
    load_reference_data()
    lines = [NOREN.format(strike="Strike") + "Multiplier,", *(row + "1," for row in ROWS)]
    report = import_instruments(
        broker="zebu", lines=lines, source="test", actor=SYSTEM, now=NOW, force=True
    )
    assert report.unknown_columns == ("Multiplier",)
    assert "unknown columns: Multiplier" in str(report)
    assert report.contracts_new == 5
    with pytest.raises(InstrumentFileError, match="no column StrikePrice; unknown to us: Strk"):
        import_instruments(
            broker="zebu",
            lines=[NOREN.format(strike="Strk"), *ROWS],
            source="test",
            actor=SYSTEM,
            now=NOW,
        )


def test_control_the_known_headers_are_known() -> None:
    kite = (
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange"
    )
    stream = get_adapter("zerodha").parse_instruments([kite])
    assert list(stream) == []
    assert (stream.unknown_columns, stream.problem) == ([], "")


@pytest.mark.parametrize("kind", ["zebu", "zerodha"])
@given(names=st.lists(st.text(max_size=40), max_size=30), row=st.text(max_size=60))
def test_no_first_line_raises_or_floods_the_report(kind: str, names: list[str], row: str) -> None:
    stream = get_adapter(kind).parse_instruments([",".join(names), row])
    assert list(stream) == []
    assert len(stream.unknown_columns) <= 10
    assert all(name.isprintable() and len(name) <= 30 for name in stream.unknown_columns)
