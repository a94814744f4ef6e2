"""The contract generator: expiries, symbols, and two files that say the same."""

from __future__ import annotations

import csv
import datetime as dt
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.simulator.contracts import (
    BFO,
    NFO,
    THURSDAY,
    UNDERLYINGS,
    generate,
    is_trading_day,
    kite_symbol,
    monthly_expiries,
    noren_symbol,
    weekly_expiries,
)

# NSE F&O holidays 2026 that fall on a weekday (NSE/FAOP/71777 and 72262)
HOLIDAYS_2026 = frozenset(
    dt.date(2026, month, day)
    for month, day in (
        (1, 15), (1, 26), (3, 3), (3, 26), (3, 31), (4, 3), (4, 14), (5, 1), (5, 28),
        (6, 26), (9, 14), (10, 2), (10, 20), (11, 10), (11, 24), (12, 25),
    )
)  # fmt: skip
days = st.dates(dt.date(2025, 9, 1), dt.date(2028, 12, 31))


@pytest.mark.parametrize(
    ("day", "expiry"),
    [
        ("2026-01-01", "2026-01-06"),
        ("2026-01-07", "2026-01-13"),
        ("2026-02-26", "2026-03-02"),
        ("2026-04-09", "2026-04-13"),
        ("2026-08-04", "2026-08-04"),
        ("2026-10-14", "2026-10-19"),
        ("2026-10-20", "2026-10-27"),
        ("2026-11-05", "2026-11-09"),
    ],
)
def test_weekly_expiry_moves_off_holidays(day: str, expiry: str) -> None:
    expiries = weekly_expiries(dt.date.fromisoformat(day), HOLIDAYS_2026)
    assert expiries[0] == dt.date.fromisoformat(expiry)


@pytest.mark.parametrize(
    ("day", "expiry"),
    [("2026-03-04", "2026-03-30"), ("2026-11-01", "2026-11-23"), ("2026-11-24", "2026-12-29")],
)
def test_monthly_expiry_moves_off_closed_days(day: str, expiry: str) -> None:
    expiries = monthly_expiries(dt.date.fromisoformat(day), HOLIDAYS_2026)
    assert expiries[0] == dt.date.fromisoformat(expiry)


@given(day=days, closed=st.frozensets(days, max_size=40))
def test_expiries_are_trading_days_in_order_and_never_past(
    day: dt.date, closed: frozenset[dt.date]
) -> None:
    for expiries in (weekly_expiries(day, closed), monthly_expiries(day, closed)):
        assert expiries == sorted(expiries)
        assert all(expiry >= day and is_trading_day(expiry, closed) for expiry in expiries)


def test_symbols_as_the_brokers_write_them() -> None:
    weekly, monthly = dt.date(2025, 8, 7), dt.date(2025, 8, 28)
    assert kite_symbol("NIFTY", weekly, False, "CE", 24400) == "NIFTY2580724400CE"
    assert kite_symbol("NIFTY", dt.date(2026, 10, 19), False, "PE", 24000) == "NIFTY26O1924000PE"
    assert kite_symbol("BANKNIFTY", monthly, True, "PE", 51000) == "BANKNIFTY25AUG51000PE"
    assert kite_symbol("NIFTY", monthly, True, "FUT", 0) == "NIFTY25AUGFUT"
    assert noren_symbol("NIFTY", monthly, "CE", 24400) == "NIFTY28AUG25C24400"
    assert noren_symbol("NIFTY", monthly, "FUT", 0) == "NIFTY28AUG25F"


def test_what_is_listed() -> None:
    listed = generate(dt.date(2026, 8, 18), HOLIDAYS_2026).contracts
    by_name = {
        name: sorted({c.expiry for c in listed if c.underlying == name and c.kind != "FUT"})
        for name in UNDERLYINGS
    }
    assert [str(d) for d in by_name["NIFTY"]] == [
        "2026-08-18", "2026-08-25", "2026-09-01", "2026-09-08", "2026-09-15",
        "2026-09-29", "2026-10-27",
    ]  # fmt: skip
    monthlies = ["2026-08-25", "2026-09-29", "2026-10-27"]
    assert [str(d) for d in by_name["BANKNIFTY"]] == monthlies
    assert [str(d) for d in by_name["FINNIFTY"]] == monthlies
    assert [str(d) for d in by_name["SENSEX"]] == [
        "2026-08-20", "2026-08-27", "2026-09-03", "2026-09-10", "2026-09-17",
        "2026-09-24", "2026-10-29",
    ]  # fmt: skip
    steps = {name: u.strike_step for name, u in UNDERLYINGS.items()}
    assert steps == {"NIFTY": 50, "BANKNIFTY": 100, "FINNIFTY": 50, "SENSEX": 100}
    lots = {c.underlying: (c.exchange, c.lot_size, c.freeze_quantity) for c in listed}
    assert lots == {
        "NIFTY": (NFO, 65, 1800),
        "BANKNIFTY": (NFO, 30, 600),
        "FINNIFTY": (NFO, 60, 1200),
        "SENSEX": (BFO, 20, 1000),
    }


@pytest.mark.parametrize(
    ("day", "weekly", "monthly"),
    [
        ("2026-09-07", "2026-09-10", "2026-09-24"),
        ("2026-12-20", "2026-12-24", "2026-12-31"),
        ("2026-03-20", "2026-03-25", "2026-03-25"),  # Thursday the 26th is a holiday
    ],
)
def test_sensex_expires_on_thursdays_or_the_trading_day_before(
    day: str, weekly: str, monthly: str
) -> None:
    today = dt.date.fromisoformat(day)
    assert str(weekly_expiries(today, HOLIDAYS_2026, THURSDAY)[0]) == weekly
    assert str(monthly_expiries(today, HOLIDAYS_2026, THURSDAY)[0]) == monthly


def test_a_bfo_master_looks_like_the_real_one() -> None:
    listed = generate(dt.date(2026, 9, 7), HOLIDAYS_2026)
    rows = list(csv.DictReader(io.StringIO(listed.noren_txt(BFO))))
    assert {row["Symbol"] for row in rows} == {"BSXOPT", "BSXFUT"}
    assert {row["Exchange"] for row in rows} == {BFO}
    assert "StrikePrice" not in rows[0]
    names = {row["TradingSymbol"]: row["Strike"] for row in rows}
    assert names["SENSEX2691082000CE"] == "82000"
    assert names["SENSEX26SEP81900PE"] == "81900"
    assert names["SENSEX26SEPFUT"] == "0"
    assert "SENSEX" not in listed.noren_txt(NFO)


@settings(max_examples=10, deadline=None)
@given(day=days)
def test_both_files_name_the_same_contracts(day: dt.date) -> None:
    listed = generate(day)
    files = [(listed.kite_csv(exchange), listed.noren_txt(exchange)) for exchange in (NFO, BFO)]
    kite = {
        row["exchange_token"]: row for text, _ in files for row in csv.DictReader(io.StringIO(text))
    }
    noren = {row["Token"]: row for _, text in files for row in csv.DictReader(io.StringIO(text))}
    assert kite.keys() == noren.keys()
    assert len(kite) == len(listed) == len({row["tradingsymbol"] for row in kite.values()})
    for token, row in kite.items():
        twin = noren[token]
        expiry = dt.date.fromisoformat(row["expiry"]).strftime("%d-%b-%Y").upper()
        assert (row["exchange"], expiry, row["lot_size"]) == (
            twin["Exchange"],
            twin["Expiry"],
            twin["LotSize"],
        )
        assert float(row["strike"]) == float(twin.get("StrikePrice") or twin["Strike"])
        assert row["instrument_type"] == twin["OptionType"].replace("XX", "FUT")
        segment = {NFO: 2, BFO: 5}[row["exchange"]]
        assert int(row["instrument_token"]) == int(token) * 256 + segment
        assert int(row["instrument_token"]) < 2**32


def test_a_contract_keeps_its_token_overnight() -> None:
    monday, tuesday = (generate(dt.date(2026, 8, day)).by_noren_symbol for day in (17, 18))
    common = monday.keys() & tuesday.keys()
    assert len(common) > 1900
    assert all(monday[symbol].token == tuesday[symbol].token for symbol in common)


@pytest.mark.parametrize("exchange", [NFO, BFO])
def test_noren_archive_holds_the_master(exchange: str) -> None:
    listed = generate(dt.date(2026, 8, 18))
    with zipfile.ZipFile(io.BytesIO(listed.noren_zip(exchange))) as archive:
        assert archive.namelist() == [f"{exchange}_symbols.txt"]
        assert archive.read(f"{exchange}_symbols.txt").decode() == listed.noren_txt(exchange)


def test_index_rows_come_with_the_full_kite_file_only() -> None:
    listed = generate(dt.date(2026, 8, 18))
    rows = list(csv.DictReader(io.StringIO(listed.kite_dump())))
    assert [row["tradingsymbol"] for row in rows[:4]] == [
        "NIFTY 50", "NIFTY BANK", "NIFTY FIN SERVICE", "SENSEX",
    ]  # fmt: skip
    assert rows[3]["exchange"] == "BSE"
    assert len(rows) == 4 + len(listed)
    assert "INDICES" not in listed.kite_csv()
