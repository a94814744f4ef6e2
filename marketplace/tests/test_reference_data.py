"""Shipped files, their loaders, and the selectors that read what was loaded."""

from __future__ import annotations

import copy
import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketplace.models import (
    CalendarYear,
    Contract,
    FreezeQuantity,
    Holiday,
    LotSize,
    SpecialSession,
    Underlying,
)
from marketplace.selectors import (
    contract_info,
    expiries,
    load_calendar,
    load_market,
    price_in_force,
    strikes,
)
from marketplace.services.calendar import CALENDAR_FILE, load_calendar_file
from marketplace.services.reference import FREEZE_FILE
from marketplace.tests import factories as make
from marketplace.tests.shipped_calendar import shipped
from quantleap.core.errors import InvalidRequest

pytestmark = pytest.mark.django_db

DAY = make.TEST_DAY


def run(command: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(command, stdout=out, **options)
    return out.getvalue()


def written(tmp_path: Path, data: Any) -> Path:
    path = tmp_path / "list.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_loading_twice_changes_nothing() -> None:
    first = run("load_calendar")
    assert "calendar: 38 added, 0 changed, 0 removed, 0 unchanged" in first
    assert "2026: 20 added, 0 changed, 0 removed\n" in first
    assert "  + holiday: Thu 15 Jan 2026 Municipal elections, Maharashtra; source: NSE/" in first
    before = list(Holiday.objects.values_list("pk", "date"))
    second = run("load_calendar")
    assert "calendar: 0 added, 0 changed, 0 removed, 38 unchanged" in second
    assert "2026:" not in second
    assert list(Holiday.objects.values_list("pk", "date")) == before
    assert "freeze quantities: 12 new" in run("load_freeze_quantities")
    assert "freeze quantities: 0 new, 12 kept" in run("load_freeze_quantities")
    assert Underlying.objects.count() == 6


def test_the_database_gives_the_calendar_of_the_file(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    run("load_calendar")
    with django_assert_num_queries(4):
        loaded = load_calendar()
    assert loaded == shipped()


def test_a_corrected_file_corrects_the_year(tmp_path: Path) -> None:
    run("load_calendar")
    data = json.loads(CALENDAR_FILE.read_text())
    data["holidays"] = [row for row in data["holidays"] if row["date"] != "2026-01-15"]
    data["special_sessions"][-1]["opens_at"] = "18:15"
    path = written(tmp_path, data)
    rehearsed = run("load_calendar", file=path, dry_run=True)
    assert "(dry run, nothing written): 0 added, 1 changed, 1 removed" in rehearsed
    assert Holiday.objects.filter(date="2026-01-15").exists()
    output = run("load_calendar", file=path)
    assert "calendar: 0 added, 1 changed, 1 removed, 36 unchanged" in output
    assert "  - holiday: Thu 15 Jan 2026 Municipal elections, Maharashtra" in output
    assert "  ~ special session: Sun 8 Nov 2026 18:15 to 19:15" in output
    assert "(was: Sun 8 Nov 2026 18:00 to 19:15" in output
    assert SpecialSession.objects.get(date="2026-11-08").opens_at == dt.time(18, 15)


def _without(table: str) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        del data[table]

    return change


def _year_without_holidays(data: Any) -> None:
    data["years"].append({"year": 2027, "source": "a guess"})


def _holiday_outside(data: Any) -> None:
    data["holidays"].append({"date": "2027-01-26", "description": "x", "source": "y"})


def _bad_date(data: Any) -> None:
    data["holidays"][0]["date"] = "26 Feb 2025"


def _bad_time(data: Any) -> None:
    data["session_hours"][0]["opens_at"] = "quarter past nine"


@pytest.mark.parametrize(
    "change",
    [
        _without("years"),
        _without("session_hours"),
        _year_without_holidays,
        _holiday_outside,
        _bad_date,
        _bad_time,
    ],
)
def test_a_doubtful_file_loads_nothing(tmp_path: Path, change: Callable[[Any], None]) -> None:
    data = copy.deepcopy(json.loads(CALENDAR_FILE.read_text()))
    change(data)
    with pytest.raises(CommandError, match=r"list\.json"):
        run("load_calendar", file=written(tmp_path, data))
    assert not CalendarYear.objects.exists()
    assert not Holiday.objects.exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"freeze_quantities": [{"underlying": "NIFTY"}]}']
)
def test_unreadable_files_are_named(tmp_path: Path, text: str) -> None:
    for command in ("load_calendar", "load_freeze_quantities"):
        with pytest.raises(CommandError, match=r"list\.json"):
            run(command, file=written(tmp_path, text))
    with pytest.raises(InvalidRequest):
        load_calendar_file(tmp_path / "missing.json", now=make.TEST_NOW)


def test_a_freeze_row_needs_a_known_underlying(tmp_path: Path) -> None:
    data = json.loads(FREEZE_FILE.read_text())
    data["freeze_quantities"][0]["underlying"] = "DAX"
    with pytest.raises(CommandError, match="underlying DAX is not loaded"):
        run("load_freeze_quantities", file=written(tmp_path, data))
    assert not FreezeQuantity.objects.exists()


# -- contracts ----------------------------------------------------------------------------------


def test_expiries_and_strikes_as_listed() -> None:
    make.load_test_contracts()
    listed = expiries("NIFTY", DAY)
    assert listed[:2] == (dt.date(2026, 8, 4), dt.date(2026, 8, 11))
    assert expiries("NIFTY", DAY + dt.timedelta(days=1))[0] == dt.date(2026, 8, 11)
    assert expiries("BANKNIFTY", DAY)[0] == dt.date(2026, 8, 25)
    assert expiries("FINNIFTY", DAY) == ()
    ladder = strikes("NIFTY", listed[0], "CE")
    assert list(ladder) == sorted(ladder)
    assert (len(ladder), Decimal(25_000) in ladder) == (65, True)
    assert strikes("NIFTY", DAY + dt.timedelta(days=1), "CE") == ()


def test_a_contract_that_the_newest_list_lacks_is_gone() -> None:
    """15 January 2026 became a holiday at three days' notice: expiries move, old rows stay."""
    make.load_test_contracts()
    last = expiries("NIFTY", DAY)[-1]
    Contract.objects.exclude(expiry=last).update(last_seen=DAY + dt.timedelta(days=1))
    assert last not in expiries("NIFTY", DAY)
    assert strikes("NIFTY", last, "CE") == ()


def test_lot_and_freeze_of_the_day(django_assert_num_queries: Callable[[int], Any]) -> None:
    make.load_test_contracts(dt.date(2026, 6, 2), underlyings=["BANKNIFTY"])
    expiry = expiries("BANKNIFTY", dt.date(2026, 6, 2))[-1]
    key = ("BANKNIFTY", expiry, Decimal(56_000), "PE")
    with django_assert_num_queries(1):
        june = contract_info(*key, dt.date(2026, 6, 30))
    july = contract_info(*key, dt.date(2026, 7, 1))
    assert june is not None
    assert july is not None
    assert (june.lot_size, june.freeze_quantity) == (30, 900)
    assert (july.lot_size, july.freeze_quantity) == (30, 600)
    LotSize.objects.create(
        contract_id=june.id, effective_from="2026-06-15", lot_size=25, source="test"
    )
    changed = contract_info(*key, dt.date(2026, 6, 15))
    before = contract_info(*key, dt.date(2026, 6, 14))
    assert (changed and changed.lot_size, before and before.lot_size) == (25, 30)


def test_unknown_data_never_trades() -> None:
    make.load_test_contracts(underlyings=["NIFTY"])
    expiry = expiries("NIFTY", DAY)[0]
    assert contract_info("NIFTY", expiry, Decimal(25_000), "CE", DAY) is not None
    assert contract_info("NIFTY", expiry, Decimal(25_025), "CE", DAY) is None
    yesterday = DAY - dt.timedelta(days=1)
    assert contract_info("NIFTY", expiry, Decimal(25_000), "CE", yesterday) is None
    FreezeQuantity.objects.all().delete()
    assert contract_info("NIFTY", expiry, Decimal(25_000), "CE", DAY) is None


def test_the_market_that_definitions_are_checked_against(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    make.load_test_contracts()
    with django_assert_num_queries(6):
        market = load_market(DAY)
    assert market.weekly == {"NIFTY": True, "BANKNIFTY": False}
    assert market.hours is not None
    assert market.hours.closes == dt.time(15, 40)
    assert load_market(dt.date(2024, 1, 1)).hours is None


def test_the_price_in_force() -> None:
    template = make.make_template(fee=999)
    assert price_in_force(template.pk, None, dt.date(2024, 12, 31)) is None
    price = price_in_force(template.pk, 7, DAY)
    assert price is not None
    assert price.monthly_fee == Decimal("999.00")
