"""A quote has two ages, of its book and of its last trade; the server's clock is neither."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BrokerInstrument, HttpResponse, PriceBand, QuoteRow
from brokers.registry import get_adapter
from brokers.wire_values import IST

CALL = BrokerInstrument("NFO", "NIFTY26AUG24400CE", "52168")
INDEX = {
    "zerodha": BrokerInstrument("NSE", "NIFTY 50", "1"),
    "zebu": BrokerInstrument("NSE", "", "1"),
}
#: Monday, 24 August 2026, 09:20:00 IST, and the Friday before.
NOW = dt.datetime(2026, 8, 24, 9, 20, tzinfo=IST).astimezone(dt.UTC)
FRIDAY = dt.datetime(2026, 8, 21, 15, 29, 57, tzinfo=IST).astimezone(dt.UTC)


def kite(instrument: BrokerInstrument = CALL, /, **fields: Any) -> QuoteRow | None:
    row = {
        "timestamp": "2026-08-24 09:20:00",
        "last_price": 12.40,
        "depth": {"buy": [{"price": 31}], "sell": [{"price": 33.5}]},
    } | fields
    body = {"status": "success", "data": {f"{instrument.exchange}:{instrument.symbol}": row}}
    return _read("zerodha", instrument, body)


def noren(instrument: BrokerInstrument = CALL, /, **fields: str) -> QuoteRow | None:
    row = {
        "stat": "Ok",
        "request_time": "09:20:00 24-08-2026",
        "lp": "12.40",
        "c": "12.40",
        "bp1": "31.00",
        "sp1": "33.50",
    }
    return _read("zebu", instrument, row | fields)


def _read(kind: str, instrument: BrokerInstrument, body: Any) -> QuoteRow | None:
    response = HttpResponse(200, {}, json.dumps(body).encode())
    read = get_adapter(kind).parse_quotes(response, ["k"], {"k": instrument})
    assert read.ok
    return read.quotes.get("k")


LUT = f"{NOW.timestamp():.0f}"


def test_kites_last_trade_of_friday_is_fridays() -> None:
    """Bug: bid 31, ask 33.5, last 12.40 of Friday was fresh, became reference, stop and target."""
    row = kite(last_trade_time="2026-08-21 15:29:57")
    assert row is not None
    assert (row.at, row.traded_at) == (NOW, FRIDAY)
    assert (row.last_price, row.bid, row.ask) == (Decimal("12.4"), Decimal(31), Decimal("33.5"))


@pytest.mark.parametrize("value", [None, "", 0, "0001-01-01 00:00:00x", "yesterday"])
def test_kites_quote_without_a_trade_time_has_no_trade(value: Any) -> None:
    row = kite(last_trade_time=value)
    assert row is not None
    assert (row.at, row.traded_at) == (NOW, None)


def test_norens_close_with_no_volume_is_no_trade_of_today() -> None:
    """Bug: ``lp`` = close with ``ltt`` 00:00:00 and ``v`` 0 was taken as fresh."""
    row = noren(ltt="00:00:00", ltd="21-08-2026", v="0", lut=LUT)
    assert row is not None
    assert (row.at, row.traded_at) == (NOW, None)


@pytest.mark.parametrize(
    ("fields", "traded_at"),
    [
        ({"ltt": "15:29:57", "ltd": "21-08-2026"}, FRIDAY),
        ({"ltt": "15:29:57", "ltd": "21-08-2026", "v": "0"}, None),
        ({"ltt": "09:20:00", "ltd": "24-08-2026", "v": "65"}, NOW),
        ({"ltt": "09:20:00", "v": "65"}, NOW),  # today's volume says that it was today
        ({"ltt": "09:20:00"}, None),  # of which day?
        ({"ltt": "25:00:00", "ltd": "24-08-2026", "v": "65"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_norens_trade_has_the_age_it_can_prove(
    fields: dict[str, str], traded_at: dt.datetime | None
) -> None:
    row = noren(lut=LUT, **fields)
    assert row is not None
    assert (row.at, row.traded_at) == (NOW, traded_at)


def test_only_the_servers_clock_is_young() -> None:
    """Bug: ``request_time`` alone made a price fresh. It is no age, so there is no quote."""
    assert noren() is None
    assert noren(ltt="00:00:00", v="0") is None
    old = noren(ltt="15:29:57", ltd="21-08-2026", v="65")
    assert old is not None
    assert old.at == FRIDAY


def test_an_index_has_one_time() -> None:
    level = kite(INDEX["zerodha"], depth={})
    assert level is not None
    assert (level.at, level.traded_at) == (NOW, NOW)
    level = noren(INDEX["zebu"], lut=LUT)
    assert level is not None
    assert (level.at, level.traded_at) == (NOW, NOW)


def test_the_circuit_limits_come_with_the_quote() -> None:
    band = PriceBand(Decimal("0.05"), Decimal("785.85"))
    row = kite(lower_circuit_limit=0.05, upper_circuit_limit=785.85)
    assert row is not None
    assert row.band == band
    row = noren(lut=LUT, lc="0.05", uc="785.85")
    assert row is not None
    assert row.band == band
    for odd in ({}, {"lc": "0.00", "uc": "0.00"}, {"lc": "9", "uc": "1"}, {"lc": "x"}):
        row = noren(lut=LUT, **odd)
        assert row is not None
        assert row.band is None


_texts = st.text(max_size=12) | st.sampled_from(
    ["00:00:00", "09:20:00", "24-08-2026", "0", "65", LUT, "9" * 30, "-1", "09:20:00 24-08-2026"]
)


@given(
    fields=st.dictionaries(
        st.sampled_from(["ltt", "ltd", "v", "lut", "request_time", "lp", "bp1", "sp1"]), _texts
    )
)
def test_junk_has_no_age_that_it_does_not_prove(fields: dict[str, str]) -> None:
    row = noren(**fields)
    if row is None:
        return
    assert row.at.utcoffset() == dt.timedelta(0)
    assert fields.get("lut") or row.at == row.traded_at
    assert row.traded_at is None or fields.get("ltt")
