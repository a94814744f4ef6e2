"""Rows of the calendar: edits, comparison, impossible rows, and pasted lists."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.calendar_changes import (
    CalendarMistake,
    Key,
    Row,
    Table,
    calendar_of,
    check,
    check_source,
    compare,
    day_changes,
    keyed,
    read_list,
    with_list,
    with_row,
    with_year,
    without_row,
)

CIRCULAR = "NSE/FAOP/72262 of 12 Jan 2026"
ELECTION = Row(Table.HOLIDAY, dt.date(2026, 1, 15), CIRCULAR, "Municipal elections")
REPUBLIC = Row(Table.HOLIDAY, dt.date(2026, 1, 26), "NSE/FAOP/71777", "Republic Day")
YEAR = Row(Table.YEAR, dt.date(2026, 1, 1), "NSE/FAOP/71777")
HOURS = Row(
    Table.HOURS, dt.date(2026, 1, 1), "NSE/FAOP/1", opens=dt.time(9, 15), closes=dt.time(15, 30)
)
BUDGET = Row(
    Table.SPECIAL, dt.date(2026, 2, 1), CIRCULAR, "Budget", dt.time(9, 15), dt.time(15, 30)
)
BOOK = keyed([YEAR, HOURS, REPUBLIC])


def checked(after: dict[Key, Row]) -> None:
    check(after, compare(BOOK, after))


def test_three_days_notice_closes_one_day() -> None:
    after = with_row(BOOK, ELECTION)
    comparison = compare(BOOK, after)
    assert [(c.verb, str(c.row)) for c in comparison.changes] == [
        ("added", "Thu 15 Jan 2026 Municipal elections")
    ]
    assert comparison.unchanged == 3
    (day,) = day_changes(calendar_of(BOOK), calendar_of(after), comparison.days)
    assert day.before == "open 09:15 to 15:30"
    assert day.after == "closed: Municipal elections"


def test_a_corrected_day_moves_and_does_not_double() -> None:
    moved = Row(Table.HOLIDAY, dt.date(2026, 1, 27), CIRCULAR, "Republic Day")
    after = with_row(BOOK, moved, instead_of=REPUBLIC.key)
    comparison = compare(BOOK, after)
    assert [c.verb for c in comparison.changes] == ["removed", "added"]
    assert comparison.days == {dt.date(2026, 1, 26), dt.date(2026, 1, 27)}


def test_the_same_day_twice_is_refused() -> None:
    with pytest.raises(CalendarMistake, match="already"):
        with_row(BOOK, Row(Table.HOLIDAY, REPUBLIC.day, CIRCULAR, "Another"))
    with pytest.raises(CalendarMistake, match="twice"):
        keyed([REPUBLIC, REPUBLIC])


def test_a_special_session_opens_a_closed_day_for_who_opted_in() -> None:
    after = with_row(BOOK, BUDGET)
    checked(after)
    (day,) = day_changes(calendar_of(BOOK), calendar_of(after), [BUDGET.day])
    assert day.before == "closed: weekend"
    assert day.after == "open 09:15 to 15:30, only for strategies with special sessions (Budget)"


def row(table: Table, day: str, **fields: object) -> Row:
    values: dict[str, object] = {"source": CIRCULAR, "description": "What it is", **fields}
    return Row(table, dt.date.fromisoformat(day), **values)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("bad", "words", "field"),
    [
        (row(Table.HOLIDAY, "2026-08-15"), "weekend and closed anyway", "day"),
        (row(Table.HOLIDAY, "2027-01-26"), "load the list of 2027 first", "day"),
        (row(Table.HOLIDAY, "2026-08-14", description=" "), "say what it is", "description"),
        (row(Table.HOLIDAY, "2026-08-14", source=" "), "no source", "source"),
        (
            row(Table.SPECIAL, "2026-08-14", opens=dt.time(9), closes=dt.time(10)),
            "ordinary trading day",
            "day",
        ),
        (
            row(Table.SPECIAL, "2026-08-16", opens=dt.time(10), closes=dt.time(10)),
            "must close after it opens",
            "closes",
        ),
        (row(Table.SPECIAL, "2026-08-16"), "no hours", "opens"),
    ],
)
def test_what_cannot_be_is_refused_beside_its_field(bad: Row, words: str, field: str) -> None:
    with pytest.raises(CalendarMistake, match=words) as refused:
        checked(with_row(BOOK, bad))
    assert refused.value.field == field


def test_the_holiday_below_a_muhurat_session_stays() -> None:
    muhurat = row(Table.SPECIAL, "2026-01-26", opens=dt.time(18), closes=dt.time(19))
    book = with_row(with_row(BOOK, muhurat), ELECTION)
    with pytest.raises(CalendarMistake, match="remove that first"):
        check(without_row(book, REPUBLIC.key), compare(book, without_row(book, REPUBLIC.key)))


def test_a_year_without_any_holiday_is_no_year() -> None:
    with pytest.raises(CalendarMistake, match="no holiday of 2026"):
        checked(without_row(BOOK, REPUBLIC.key))
    with pytest.raises(CalendarMistake, match="no holiday of 2027"):
        checked(with_year(BOOK, 2027, CIRCULAR, []))


@pytest.mark.parametrize(
    "source",
    ["https://nsearchives.nseindia.com/content/circulars/FAOP72262.pdf", CIRCULAR, "NSE/FAOP/7"],
)
def test_a_source_is_an_address_or_a_number(source: str) -> None:
    check_source(source)


@pytest.mark.parametrize("source", ["", "circular", "NSE", "everybody knows", "http://x", "2026"])
def test_a_source_that_nobody_can_look_up_is_refused(source: str) -> None:
    with pytest.raises(CalendarMistake, match="What is the source"):
        check_source(source)


def test_the_last_hours_of_a_loaded_year_stay() -> None:
    with pytest.raises(CalendarMistake, match="last hours: from Thu 1 Jan 2026 on") as refused:
        checked(without_row(BOOK, HOURS.key))
    assert refused.value.field == "day"
    later = row(Table.HOURS, "2026-01-05", opens=dt.time(9, 15), closes=dt.time(15))
    with pytest.raises(CalendarMistake, match="enter the new ones first"):
        checked(with_row(BOOK, later, instead_of=HOURS.key))


def test_hours_go_where_others_hold_and_where_nothing_trades() -> None:
    """Control: no trading day loses its hours."""
    shorter = row(Table.HOURS, "2026-08-10", opens=dt.time(9, 15), closes=dt.time(15))
    book = with_row(BOOK, shorter)
    check(without_row(book, shorter.key), compare(book, without_row(book, shorter.key)))
    new_year = row(Table.HOLIDAY, "2026-01-01")
    second = row(Table.HOURS, "2026-01-02", opens=dt.time(9, 15), closes=dt.time(15))
    book = with_row(with_row(BOOK, new_year), second)
    check(without_row(book, HOURS.key), compare(book, without_row(book, HOURS.key)))


def test_a_list_is_the_truth_of_its_years_only() -> None:
    old = Row(Table.HOLIDAY, dt.date(2025, 12, 25), "NSE 2025", "Christmas")
    book = with_row(with_row(BOOK, old), BUDGET)
    listed = keyed([YEAR, ELECTION])
    comparison = compare(book, with_list(book, listed))
    assert [(c.verb, c.row) for c in comparison.changes] == [
        ("added", ELECTION),
        ("removed", REPUBLIC),
        ("removed", BUDGET),
    ]


def test_loading_a_year_keeps_the_sources_of_what_was_known() -> None:
    lines = "2026-01-15 Municipal elections\n2026-01-26 Republic Day"
    holidays, _ = read_list(lines, 2026, CIRCULAR)
    comparison = compare(BOOK, with_year(BOOK, 2026, YEAR.source, holidays))
    assert [(c.verb, c.row) for c in comparison.changes] == [("added", ELECTION)]


def test_lines_as_the_exchange_prints_them() -> None:
    text = """
    1\t26-Jan-2027\tTuesday\tRepublic Day
    2   March 22 is not a date we read: 22-Mar-2027   Monday   Holi *
    3  27 March 2027, Saturday, Example
    2027-12-24 - Christmas Eve
    """
    holidays, weekends = read_list(text, 2027, CIRCULAR)
    assert [(f"{h.day}", h.description) for h in holidays] == [
        ("2027-01-26", "Republic Day"),
        ("2027-03-22", "Holi"),
        ("2027-12-24", "Christmas Eve"),
    ]
    assert weekends == ["Sat 27 Mar: Example"]


WRITTEN = ("%Y-%m-%d", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%B %d, %Y", "%b %d %y", "%dth %B, %y")
BEFORE = ("", "1 ", "12. ", "26\t", "3 Tuesday ", "Monday, ")
AFTER = ("", "Monday\t", ", Tuesday, ", " - ")


@given(
    day=st.dates(dt.date(2021, 1, 1), dt.date(2099, 12, 31)).filter(lambda day: day.weekday() < 5),
    shape=st.sampled_from(WRITTEN),
    before=st.sampled_from(BEFORE),
    after=st.sampled_from(AFTER),
    loud=st.booleans(),
)
def test_a_date_is_read_as_it_was_written(
    day: dt.date, shape: str, before: str, after: str, loud: bool
) -> None:
    written = day.strftime(shape)
    line = f"{before}{written.upper() if loud else written} {after}Republic Day"
    (holiday,), weekends = read_list(line, day.year, CIRCULAR)
    assert (holiday.day, holiday.description, weekends) == (day, "Republic Day", [])


@given(
    day=st.dates(dt.date(2021, 1, 1), dt.date(2099, 12, 31)),
    shape=st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y"]),
    before=st.sampled_from(BEFORE),
)
def test_a_date_of_numbers_alone_is_never_guessed(day: dt.date, shape: str, before: str) -> None:
    with pytest.raises(CalendarMistake, match="write 26-Jan-2027"):
        read_list(f"{before}{day.strftime(shape)} Republic Day", day.year, CIRCULAR)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Republic Day", "Line 1 has no date: Republic Day. Write it as 26-Jan-2027, "),
        ("03/04/2027 Election", "in 03/04/2027 day, month .* write 26-Jan-2027"),
        ("3/4/27 Election", "in 3/4/27 day, month .* write 26-Jan-2027"),
        ("2027/04/03 Election", "write 26-Jan-2027"),
        ("03.04.2027 Election", "write 26-Jan-2027"),
        ("27-01-26 Republic Day", "in 27-01-26 day, month .* write 26-Jan-2027"),
        ("1 Jan 26, 2026 Republic Day", "2026-01-26 is not in 2027"),
        ("26 Janaury 2027 Republic Day", "Janaury is no month"),
        ("26-Jan-2026 Republic Day", "is not in 2027"),
        ("26-Foo-2027 Republic Day", "Foo is no month"),
        ("30-Feb-2027 Nothing", "30-Feb-2027 is no date"),
        ("26-Jan-2027 Tuesday", "what is on 2027-01-26"),
        ("2６-Jan-2027 Full width", "has no date"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, words: str) -> None:
    with pytest.raises(CalendarMistake, match=words) as refused:
        read_list(line, 2027, CIRCULAR)
    assert refused.value.field == "holidays"
