"""Loads dated reference data from files with sources: underlyings, calendar, freeze quantities.

Every load is idempotent: rows are matched by what makes them unique and updated in place, so a
corrected file corrects the database. Nothing is removed by loading except holidays and special
sessions of a loaded year that its file no longer names (the file is the year's whole truth).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from marketplace.models import (
    CalendarYear,
    FreezeQuantity,
    Holiday,
    SessionHours,
    SpecialSession,
    Underlying,
)
from quantleap.core.errors import InvalidRequest

DATA: Final = Path(__file__).resolve().parent.parent / "data"
CALENDAR_FILE: Final = DATA / "calendar_2025_2026.json"
UNDERLYINGS_FILE: Final = DATA / "underlyings.json"
FREEZE_FILE: Final = DATA / "freeze_quantities.json"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How many rows a load made, changed (or confirmed) and removed."""

    created: int = 0
    kept: int = 0
    removed: int = 0

    def __add__(self, other: LoadResult) -> LoadResult:
        return LoadResult(
            self.created + other.created, self.kept + other.kept, self.removed + other.removed
        )


def _read(path: Path) -> Mapping[str, Any]:
    """The file's JSON object; InvalidRequest naming the file when it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path.name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise InvalidRequest(f"{path.name} is not a JSON object")
    return data


def _count(created: bool) -> LoadResult:
    return LoadResult(created=1) if created else LoadResult(kept=1)


@transaction.atomic
def load_underlyings(path: Path = UNDERLYINGS_FILE) -> LoadResult:
    """Load the tradable indices. InvalidRequest for a malformed file."""
    result = LoadResult()
    try:
        for row in _read(path)["underlyings"]:
            _, created = Underlying.objects.update_or_create(
                symbol=row["symbol"],
                defaults={"name": row["name"], "exchange": row["exchange"]},
            )
            result += _count(created)
    except (KeyError, TypeError) as error:
        raise InvalidRequest(f"{path.name} lacks {error}") from error
    return result


@transaction.atomic
def load_freeze_quantities(path: Path = FREEZE_FILE) -> LoadResult:
    """Load freeze quantities (units, from a date on). Unknown underlyings are refused by name."""
    known = dict(Underlying.objects.values_list("symbol", "id"))
    result = LoadResult()
    try:
        for row in _read(path)["freeze_quantities"]:
            symbol = row["underlying"]
            if symbol not in known:
                raise InvalidRequest(f"{path.name}: underlying {symbol} is not loaded")
            _, created = FreezeQuantity.objects.update_or_create(
                underlying_id=known[symbol],
                effective_from=dt.date.fromisoformat(row["effective_from"]),
                defaults={"quantity": row["quantity"], "source": row["source"]},
            )
            result += _count(created)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{path.name}: {error}") from error
    return result


@transaction.atomic
def load_calendar_file(path: Path = CALENDAR_FILE, *, now: dt.datetime) -> LoadResult:
    """Load years, holidays, special sessions and session hours.

    A year opens only here, and only when the file holds at least one holiday of it: an empty list
    would pass for a year without holidays. InvalidRequest otherwise, and for a malformed file.
    """
    data = _read(path)
    try:
        years = {int(row["year"]): str(row["source"]) for row in data["years"]}
        holidays = {dt.date.fromisoformat(row["date"]): row for row in data["holidays"]}
        specials = {dt.date.fromisoformat(row["date"]): row for row in data["special_sessions"]}
        hours = {dt.date.fromisoformat(row["effective_from"]): row for row in data["session_hours"]}
        _refuse_gaps(years, holidays, specials)
        return (
            _load_holidays(holidays, years)
            + _load_specials(specials, years)
            + _load_hours(hours)
            + _load_years(years, now)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{path.name}: {error}") from error


def _refuse_gaps(
    years: Mapping[int, str], holidays: Mapping[dt.date, Any], specials: Mapping[dt.date, Any]
) -> None:
    for year in years:
        if not any(day.year == year for day in holidays):
            raise ValueError(f"no holiday of {year}")
    for day in (*holidays, *specials):
        if day.year not in years:
            raise ValueError(f"{day} is in a year that the file does not cover")


def _load_years(years: Mapping[int, str], now: dt.datetime) -> LoadResult:
    result = LoadResult()
    for year, source in years.items():
        _, created = CalendarYear.objects.update_or_create(
            year=year,
            defaults={"source": source},
            create_defaults={"source": source, "loaded_at": now},
        )
        result += _count(created)
    return result


def _load_holidays(rows: Mapping[dt.date, Any], years: Mapping[int, str]) -> LoadResult:
    gone, _ = Holiday.objects.filter(date__year__in=years).exclude(date__in=rows).delete()
    result = LoadResult(removed=gone)
    for day, row in rows.items():
        _, created = Holiday.objects.update_or_create(
            date=day, defaults={"description": row["description"], "source": row["source"]}
        )
        result += _count(created)
    return result


def _session_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "opens_at": dt.time.fromisoformat(row["opens_at"]),
        "closes_at": dt.time.fromisoformat(row["closes_at"]),
        "source": row["source"],
    }


def _load_specials(rows: Mapping[dt.date, Any], years: Mapping[int, str]) -> LoadResult:
    gone, _ = SpecialSession.objects.filter(date__year__in=years).exclude(date__in=rows).delete()
    result = LoadResult(removed=gone)
    for day, row in rows.items():
        _, created = SpecialSession.objects.update_or_create(
            date=day, defaults={**_session_times(row), "description": row["description"]}
        )
        result += _count(created)
    return result


def _load_hours(rows: Mapping[dt.date, Any]) -> LoadResult:
    result = LoadResult()
    for day, row in rows.items():
        _, created = SessionHours.objects.update_or_create(
            effective_from=day, defaults=_session_times(row)
        )
        result += _count(created)
    return result
