"""Changes of the trading calendar. Pure.

The calendar is stored as rows, each with a source, which the console edits and files supply. A
change is a second set of rows. Comparing the two gives the rows added, changed and removed;
comparing the two resulting calendars gives the days that open and close.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from marketplace.calendar import SATURDAY, Hours, Session, TradingCalendar
from quantleap.core.dates import day_text

MIN_SOURCE: Final = 8
MAX_SOURCE: Final = 200
MAX_DESCRIPTION: Final = 120


class Table(enum.Enum):
    """The kind of fact in a row; the value is its name in English."""

    YEAR = "year"
    HOLIDAY = "holiday"
    SPECIAL = "special session"
    HOURS = "session hours"


@dataclass(frozen=True, slots=True)
class Row:
    """One fact with its source. Times IST.

    ``day`` is the holiday, the special session's day, the first day of session hours, or 1 January
    of a loaded year.
    """

    table: Table
    day: dt.date
    source: str
    description: str = ""
    opens: dt.time | None = None
    closes: dt.time | None = None

    @property
    def key(self) -> Key:
        """What must be unique."""
        return self.table, self.day

    def __str__(self) -> str:
        if self.table is Table.YEAR:
            return f"{self.day.year}"
        words = [day_text(self.day, weekday=True)]
        if self.opens and self.closes:
            words.append(f"{self.opens:%H:%M} to {self.closes:%H:%M}")
        return " ".join([*words, *([self.description] if self.description else [])])


Key = tuple[Table, dt.date]
Rows = Mapping[Key, Row]


class CalendarMistake(ValueError):
    """An impossible row; ``field`` names the field to correct (description, source, day, opens
    …)."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def keyed(rows: Iterable[Row]) -> dict[Key, Row]:
    """Rows by key; CalendarMistake if a key occurs twice."""
    by_key: dict[Key, Row] = {}
    for row in rows:
        if row.key in by_key:
            raise CalendarMistake(f"{row.table.value} {row} occurs twice", "day")
        by_key[row.key] = row
    return by_key


def calendar_of(rows: Rows) -> TradingCalendar:
    """The calendar made from these rows."""
    hours = sorted(_of(rows, Table.HOURS), key=lambda row: row.day)
    return TradingCalendar(
        years=frozenset(row.day.year for row in _of(rows, Table.YEAR)),
        holidays={row.day: row.description for row in _of(rows, Table.HOLIDAY)},
        special_sessions={row.day: _hours(row) for row in _of(rows, Table.SPECIAL)},
        hours=tuple((row.day, _hours(row)) for row in hours),
    )


def _of(rows: Rows, table: Table) -> Iterator[Row]:
    return (row for row in rows.values() if row.table is table)


def _hours(row: Row) -> Hours:
    if row.opens is None or row.closes is None:
        raise CalendarMistake(f"{row.table.value} {row} has no hours", "opens")
    return Hours(row.opens, row.closes, row.description)


# -- edits --------------------------------------------------------------------------------------


def with_row(rows: Rows, row: Row, *, instead_of: Key | None = None) -> dict[Key, Row]:
    """``rows`` with ``row`` added, or replacing another key (a corrected day)."""
    rest = {key: value for key, value in rows.items() if key != instead_of}
    if row.key in rest:
        raise CalendarMistake(f"There is one on {day_text(row.day, weekday=True)} already", "day")
    return {**rest, row.key: row}


def without_row(rows: Rows, key: Key) -> dict[Key, Row]:
    """``rows`` without one of them."""
    return {other: row for other, row in rows.items() if other != key}


def with_list(rows: Rows, listed: Rows) -> dict[Key, Row]:
    """``rows`` after a list was loaded.

    The list is the complete truth for its years: holidays and special sessions that it does not
    name are removed. Other years stay as they are; session hours are only added or corrected.
    """
    years = {row.day.year for row in _of(listed, Table.YEAR)}
    dated = (Table.HOLIDAY, Table.SPECIAL)
    stay = {k: r for k, r in rows.items() if k[0] not in dated or r.day.year not in years}
    return {**stay, **listed}


def with_year(rows: Rows, year: int, source: str, holidays: Iterable[Row]) -> dict[Key, Row]:
    """``rows`` with the holiday list of one year; its special sessions stay.

    A holiday that was already known keeps its source.
    """
    known = {(row.day, row.description): row for row in _of(rows, Table.HOLIDAY)}
    new = keyed(
        [
            Row(Table.YEAR, dt.date(year, 1, 1), source),
            *(known.get((row.day, row.description), row) for row in holidays),
        ]
    )
    stay = {k: r for k, r in rows.items() if k[0] is not Table.HOLIDAY or r.day.year != year}
    return {**stay, **new}


# -- comparison ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One row that differs: added (no ``before``), changed, or removed (no ``after``)."""

    before: Row | None
    after: Row | None

    @property
    def row(self) -> Row:
        """The new row, or the old one if it was removed."""
        row = self.after or self.before
        assert row is not None, "a change has a side"  # noqa: S101
        return row

    @property
    def verb(self) -> str:
        """added, changed or removed."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def was(self) -> str:
        """For a changed row: the old one as text, or its old source if only that changed."""
        if self.before is None or self.after is None:
            return ""
        if str(self.before) != str(self.after):
            return str(self.before)
        return f"source: {self.before.source}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference between two states of the calendar, by year and day; and the number of
    unchanged rows."""

    changes: tuple[Change, ...]
    unchanged: int

    def count(self, verb: str) -> int:
        """How many rows were added, changed or removed."""
        return sum(change.verb == verb for change in self.changes)

    @property
    def days(self) -> frozenset[dt.date]:
        """Days of the holidays and special sessions that changed."""
        dated = (Table.HOLIDAY, Table.SPECIAL)
        rows = (row for c in self.changes for row in (c.before, c.after) if row is not None)
        return frozenset(row.day for row in rows if row.table in dated)


def compare(before: Rows, after: Rows) -> Comparison:
    """The difference between two states."""
    keys = sorted({*before, *after}, key=lambda key: (key[1], list(Table).index(key[0])))
    changes = tuple(
        Change(before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    )
    return Comparison(changes, sum(before.get(key) == row for key, row in after.items()))


# -- impossible rows --------------------------------------------------------------------------


def check(after: Rows, comparison: Comparison) -> None:
    """Raise CalendarMistake if a change would leave impossible rows."""
    for change in comparison.changes:
        if change.after is not None:
            _check_words(change.after)
            _check_hours(change.after)
            _check_place(change.after, after)
        else:
            _check_removal(change.row, after)
    touched = {change.row.day.year for change in comparison.changes}
    for year in sorted(touched & {row.day.year for row in _of(after, Table.YEAR)}):
        if not any(row.day.year == year for row in _of(after, Table.HOLIDAY)):
            raise CalendarMistake(
                f"no holiday of {year}: an empty list would look like a year without any"
            )


def _check_words(row: Row) -> None:
    if not row.source.strip():
        raise CalendarMistake(f"{row.table.value} {row} has no source", "source")
    if len(row.source) > MAX_SOURCE:
        raise CalendarMistake(f"At most {MAX_SOURCE} characters", "source")
    if row.table in (Table.HOLIDAY, Table.SPECIAL) and not row.description.strip():
        raise CalendarMistake(f"{row}: say what it is", "description")
    if len(row.description) > MAX_DESCRIPTION:
        raise CalendarMistake(f"At most {MAX_DESCRIPTION} characters", "description")


def _check_hours(row: Row) -> None:
    if row.table in (Table.SPECIAL, Table.HOURS):
        hours = _hours(row)
        if hours.opens >= hours.closes:
            raise CalendarMistake(f"{row}: it must close after it opens", "closes")


def check_source(source: str) -> None:
    """Raise CalendarMistake unless ``source`` can be looked up: an address, or a circular's
    number."""
    text = source.strip()
    address = re.match(r"https?://[^\s/]+\.[^\s/]+", text)
    if not address and (len(text) < MIN_SOURCE or not re.search(r"\d", text)):
        raise CalendarMistake(
            "What is the source? Give the circular's address or its number and date, "
            "such as NSE/FAOP/72262 of 12 Jan 2026",
            "source",
        )


def _check_place(row: Row, after: Rows) -> None:
    if row.table in (Table.YEAR, Table.HOURS):
        return
    loaded = (Table.YEAR, dt.date(row.day.year, 1, 1)) in after
    if not loaded:
        raise CalendarMistake(
            f"{row.day} is in a year whose holidays are not loaded: "
            f"load the list of {row.day.year} first",
            "day",
        )
    weekend = row.day.weekday() >= SATURDAY
    day = day_text(row.day, weekday=True)
    if row.table is Table.HOLIDAY and weekend:
        raise CalendarMistake(f"{day} is a weekend and closed anyway", "day")
    if row.table is Table.SPECIAL and not weekend and (Table.HOLIDAY, row.day) not in after:
        raise CalendarMistake(
            f"{day} is an ordinary trading day and keeps its ordinary hours; "
            "enter its holiday first",
            "day",
        )


def _check_removal(row: Row, after: Rows) -> None:
    if row.table is Table.HOLIDAY and (Table.SPECIAL, row.day) in after:
        raise CalendarMistake(f"There is a special session on {row.day}; remove that first", "day")
    if row.table is Table.HOURS:
        lost = next(_days_without_hours(row.day, after), None)
        if lost is not None:
            raise CalendarMistake(
                f"These are the last hours: from {day_text(lost, weekday=True)} on trading days "
                "would have none, and nothing would trade. Correct these, or enter the new ones "
                "first",
                "day",
            )


def _days_without_hours(first: dt.date, rows: Rows) -> Iterator[dt.date]:
    """Days of loaded years, from ``first`` on, that are closed only for lack of hours;
    ascending."""
    holidays = {row.day for row in _of(rows, Table.HOLIDAY)}
    known_from = min((row.day for row in _of(rows, Table.HOURS)), default=dt.date.max)
    for year in sorted(row.day.year for row in _of(rows, Table.YEAR)):
        day = max(first, dt.date(year, 1, 1))
        while day.year == year and day < known_from:
            if day.weekday() < SATURDAY and day not in holidays:
                yield day
            day += dt.timedelta(days=1)


# -- consequences -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DayChange:
    """A day whose session changes, as text."""

    day: dt.date
    before: str
    after: str


def day_changes(
    before: TradingCalendar, after: TradingCalendar, days: Iterable[dt.date]
) -> Sequence[DayChange]:
    """Those of ``days`` whose session changes, special sessions included."""
    changes = []
    for day in sorted(days):
        was, becomes = (_session_words(calendar, day) for calendar in (before, after))
        if was != becomes:
            changes.append(DayChange(day, was, becomes))
    return changes


def _session_words(calendar: TradingCalendar, day: dt.date) -> str:
    session = calendar.session(day, special_ok=True)
    if session is None:
        return f"closed: {calendar.closed_because(day, special_ok=True)}"
    return _hours_words(calendar, session, day)


def _hours_words(calendar: TradingCalendar, session: Session, day: dt.date) -> str:
    hours = calendar.special_sessions[day] if session.special else calendar.ordinary_hours(day)
    assert hours is not None, "a session has hours"  # noqa: S101
    what = f", only for strategies with special sessions ({hours.description})"
    span = f"{hours.opens:%H:%M} to {hours.closes:%H:%M}"
    return f"open {span}{what if session.special else ''}"


# -- a pasted list ------------------------------------------------------------------------------

#: Accepted spellings of a date, for the form and for error messages.
DATE_SHAPES: Final = "26-Jan-2027, 26-Jan-27, 26 January 2027, January 26, 2027 or 2027-01-26"
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH_NUMBERS: Final = {
    name: number
    for number, month in enumerate(_MONTHS, start=1)
    for name in (month, month[:3], *(["sept"] if month == "september" else []))
}
_MONTH: Final = rf"(?:{'|'.join(sorted(_MONTH_NUMBERS, key=len, reverse=True))})"
_GAP: Final = r"[-\s.,]+"
_DAY: Final = r"\d{1,2}(?:st|nd|rd|th)?"
_ISO: Final = r"(?P<y1>\d{4})-(?P<m1>\d{2})-(?P<d1>\d{2})"


def _dates(year: str, *others: str) -> re.Pattern[str]:
    day_first = rf"(?P<d2>{_DAY}){_GAP}(?P<m2>{_MONTH}){_GAP}(?P<y2>{year})"
    month_first = rf"\b(?P<m3>{_MONTH}){_GAP}(?P<d3>{_DAY}){_GAP}(?P<y3>{year})"
    shapes = "|".join([*others, day_first, month_first])
    return re.compile(rf"(?<!\d)(?:{shapes})\b(?![-/.]\d)", re.ASCII | re.IGNORECASE)


# "3 January 26, 2027" is line 3 of a table and not the third of January: a year of two digits
# counts only if the line has none of four, and no other number follows.
_DATE: Final = _dates(r"\d{4}", _ISO)
_SHORT_DATE: Final = _dates(rf"\d{{2}}(?!{_GAP}\d{{2}}\b)(?!-{_MONTH})")
_NO_MONTH: Final = re.compile(
    r"(?<!\d)\d{1,2}[-\s](?P<month>[a-z]{3,9})[-,\s]+\d{4}\b", re.ASCII | re.IGNORECASE
)
#: 03/04/2027 may be in April or in March, and 27-01-26 may begin with its year.
_AMBIGUOUS: Final = re.compile(r"(?<!\d)\d{1,4}([/.-])\d{1,2}\1\d{1,4}(?!\d)", re.ASCII)
_WEEKDAY: Final = re.compile(r"^(?:mon|tues|wednes|thurs|fri|satur|sun)day\b\s*", re.IGNORECASE)


def read_list(text: str, year: int, source: str) -> tuple[list[Row], list[str]]:
    """Holidays of ``year`` from lines of a date and a name, and the skipped ones on weekends.

    A line may be copied from the exchange's table: a running number before the date and the weekday
    after it are ignored. Dates as in :data:`DATE_SHAPES`; a year of two digits is in this century.
    CalendarMistake names a line that cannot be read, or a date in numbers only.
    """
    holidays, weekends = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _DATE.search(line) or _SHORT_DATE.search(line)
        if match is None:
            raise CalendarMistake(_unread(line, number), "holidays")
        day = _day(match, number)
        if day.year != year:
            raise CalendarMistake(f"Line {number}: {day} is not in {year}", "holidays")
        name = _WEEKDAY.sub("", line[match.end() :].strip(" \t,;:|-")).strip(" \t,;:|-*")
        if not name:
            raise CalendarMistake(f"Line {number}: what is on {day}?", "holidays")
        if day.weekday() >= SATURDAY:
            weekends.append(f"{day_text(day, weekday=True, year=False)}: {name}")
        else:
            holidays.append(Row(Table.HOLIDAY, day, source, " ".join(name.split())))
    return holidays, weekends


def _unread(line: str, number: int) -> str:
    """Why a line has no readable date, and how to write one."""
    numbers = _AMBIGUOUS.search(line)
    if numbers is not None:
        return (
            f"Line {number}: in {numbers[0]} day, month and year are ambiguous; write 26-Jan-2027"
        )
    word = _NO_MONTH.search(line)
    if word is not None:
        return f"Line {number}: {word['month']} is no month"
    return f"Line {number} has no date: {line.strip()[:60]}. Write it as {DATE_SHAPES}"


def _day(match: re.Match[str], number: int) -> dt.date:
    texts = {name[0]: text for name, text in match.groupdict().items() if text}
    year, month, day = texts["y"], texts["m"].lower(), texts["d"].rstrip("stndrhSTNDRH")
    century = 2000 if len(year) == 2 else 0
    try:
        return dt.date(century + int(year), _MONTH_NUMBERS.get(month) or int(month), int(day))
    except ValueError as error:
        raise CalendarMistake(f"Line {number}: {match[0]} is no date", "holidays") from error
