"""Dated facts of the exchange as the simulator enforces them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from brokers.simulator import facts
from brokers.simulator.exchange import Settings
from brokers.simulator.facts import Facts, Hours
from brokers.simulator.market import Market
from brokers.tests.driven_simulator import DrivenSimulator
from quantleap.core.clock import IST


@pytest.fixture(scope="module")
def loaded() -> Facts:
    return facts.load()


def test_the_data_files_are_understood(loaded: Facts) -> None:
    assert dt.date(2026, 11, 24) in loaded.closed_days
    assert loaded.ordinary_hours(dt.date(2026, 7, 31)) == Hours(closes=dt.time(15, 30))
    assert loaded.ordinary_hours(dt.date(2026, 8, 3)) == Hours(closes=dt.time(15, 40))
    assert loaded.session(dt.date(2026, 2, 1)) == Hours(closes=dt.time(15, 30))
    assert loaded.session(dt.date(2026, 2, 8)) is None
    assert loaded.freeze_on(dt.date(2026, 5, 5))["BANKNIFTY"] == 900
    assert loaded.freeze_on(dt.date(2026, 8, 18))["BANKNIFTY"] == 600


def test_further_closed_days_are_added(loaded: Facts) -> None:
    more = facts.load(frozenset({dt.date(2026, 8, 18)}))
    assert more.closed_days == loaded.closed_days | {dt.date(2026, 8, 18)}


def test_without_files_an_ordinary_week_is_open(tmp_path: Path) -> None:
    bare = facts.load(data=tmp_path)
    assert bare == Facts()
    assert bare.session(dt.date(2026, 8, 18)) == Hours(dt.time(9, 15), dt.time(15, 40))
    assert bare.session(dt.date(2026, 8, 16)) is None
    assert bare.freeze_on(dt.date(2026, 8, 18)) == {}


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-07-31T15:29", True),
        ("2026-07-31T15:31", False),
        ("2026-08-03T15:31", True),
        ("2026-11-24T10:00", False),
        ("2026-11-08T18:30", True),
        ("2026-11-08T10:00", False),
    ],
)
def test_the_market_keeps_the_hours_of_its_day(loaded: Facts, now: str, is_open: bool) -> None:
    at = dt.datetime.fromisoformat(now).replace(tzinfo=IST)
    assert Market(1, loaded).is_open(at) is is_open


def test_the_freeze_limit_of_the_day_is_enforced(loaded: Facts) -> None:
    def status(day: int, month: int) -> int:
        now = dt.datetime(2026, month, day, 5, tzinfo=dt.UTC)
        simulator = DrivenSimulator(Settings(facts=loaded), now)
        symbol = next(
            c.kite_symbol
            for c in simulator.exchange.contracts.contracts
            if c.underlying == "BANKNIFTY" and c.kind == "CE"
        )
        return simulator.kite_place(tradingsymbol=symbol, quantity=630)[0]

    assert status(5, 5) == 200
    assert status(18, 8) == 400
