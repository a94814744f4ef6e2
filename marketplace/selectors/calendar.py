"""The stored calendar, and the effect of a change on published strategies and listed contracts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from marketplace.calendar import CalendarError, TradingCalendar
from marketplace.calendar_changes import (
    Comparison,
    DayChange,
    Key,
    Row,
    Rows,
    Table,
    calendar_of,
    day_changes,
    keyed,
)
from marketplace.definition import OPTIONS, StrategySpec
from marketplace.entries import entry_on
from marketplace.models import (
    CalendarYear,
    Contract,
    Holiday,
    SessionHours,
    SpecialSession,
    Template,
)
from marketplace.ports import RUNS
from marketplace.selectors.templates import strategies_for_day
from quantleap.core import clock
from quantleap.core.dates import day_text
from quantleap.core.tenancy import Environment

#: Strategies named on a preview; the rest are counted.
MOST_NAMES: Final = 20
#: How far the preview looks for a session of each weekday: some weeks of holidays.
SAMPLED_DAYS: Final = 60


def calendar_rows() -> dict[Key, Row]:
    """Every row of the calendar with its source (four small queries)."""
    return keyed(
        [
            *(
                Row(Table.YEAR, dt.date(row.year, 1, 1), row.source)
                for row in CalendarYear.objects.all()
            ),
            *(
                Row(Table.HOLIDAY, row.date, row.source, row.description)
                for row in Holiday.objects.all()
            ),
            *(
                Row(
                    Table.SPECIAL,
                    row.date,
                    row.source,
                    row.description,
                    row.opens_at,
                    row.closes_at,
                )
                for row in SpecialSession.objects.all()
            ),
            *(
                Row(
                    Table.HOURS,
                    row.effective_from,
                    row.source,
                    opens=row.opens_at,
                    closes=row.closes_at,
                )
                for row in SessionHours.objects.all()
            ),
        ]
    )


@dataclass(frozen=True, slots=True)
class DayEffect:
    """One day after a change: its session, and the entries lost and gained, by name and time."""

    change: DayChange
    lost: tuple[str, ...]
    gained: tuple[str, ...]

    @property
    def day(self) -> dt.date:
        """The day (IST)."""
        return self.change.day


@dataclass(frozen=True, slots=True)
class Effects:
    """The effect of a calendar change. ``warnings`` ask a person to do something."""

    days: tuple[DayEffect, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def effects_of(before: Rows, after: Rows, comparison: Comparison, *, now: dt.datetime) -> Effects:
    """Effect of ``comparison`` on published strategies, entries and listed expiries from today on.

    It is not binding, only the content of the preview.
    """
    today = clock.ist_date(now)
    was, becomes = calendar_of(before), calendar_of(after)
    coming = {day for day in comparison.days if day >= today}
    sample = _hours_sample(before, after, comparison, today)
    strategies = _published()
    days = tuple(
        DayEffect(change, *_entries_of(was, becomes, strategies, change.day))
        for change in day_changes(was, becomes, {*coming, *sample})
        if change.day.year in was.years or change.day.year not in becomes.years
    )
    sentences = [*_year_sentences(was, becomes), *_past_sentence(comparison, today)]
    if any(effect.day in sample for effect in days):
        sentences.append(
            "For changed session hours you see the first session of each weekday; "
            "they apply to the later ones as well."
        )
    if days and not any(effect.lost or effect.gained for effect in days):
        sentences.append("No published strategy enters on the days that change.")
    warnings = [*_expiry_warnings(was, becomes, comparison, today)]
    if any(effect.day == today for effect in days) and RUNS.get().made(today):
        warnings.append("Today's runs are already armed and stay: only the kill switch stops them.")
    return Effects(days, tuple(sentences), tuple(warnings))


def _hours_sample(
    before: Rows, after: Rows, comparison: Comparison, today: dt.date
) -> frozenset[dt.date]:
    """The first coming session of each weekday to which changed session hours apply.

    A strategy may enter on one weekday only, so one day cannot represent the others.
    """
    calendars = calendar_of(before), calendar_of(after)
    starts = sorted({day for table, day in {*before, *after} if table is Table.HOURS})
    sample: set[dt.date] = set()
    for change in comparison.changes:
        if change.row.table is not Table.HOURS:
            continue
        until = next((day for day in starts if day > change.row.day), dt.date.max)
        sample |= _first_of_each_weekday(calendars, max(change.row.day, today), until)
    return frozenset(sample)


def _first_of_each_weekday(
    calendars: Sequence[TradingCalendar], first: dt.date, until: dt.date
) -> set[dt.date]:
    """The first trading day of each weekday in any of ``calendars``; ``until`` is exclusive."""
    by_weekday: dict[int, dt.date] = {}
    for distance in range(min(SAMPLED_DAYS, (until - first).days)):
        day = first + dt.timedelta(days=distance)
        if any(calendar.is_trading_day(day) for calendar in calendars):
            by_weekday.setdefault(day.weekday(), day)
    return set(by_weekday.values())


def _published() -> Sequence[tuple[str, StrategySpec]]:
    """(template's name, strategy) of all strategies that may enter, in the live environment."""
    rows = strategies_for_day(Environment.LIVE)
    names: Mapping[int, str] = dict(
        Template.objects.filter(pk__in=[row[0] for row in rows]).values_list("pk", "name")
    )
    return [
        (names.get(template_id, ""), strategy)
        for template_id, _, _, definition in rows
        for strategy in definition.strategies
    ]


def _entries_of(
    was: TradingCalendar,
    becomes: TradingCalendar,
    strategies: Sequence[tuple[str, StrategySpec]],
    day: dt.date,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and times of the entries that ``day`` loses and gains."""
    lost: list[str] = []
    gained: list[str] = []
    for template, strategy in strategies:
        before, after = (_enters(calendar, strategy, day) for calendar in (was, becomes))
        if before != after:
            name = f"{template}: {strategy.name}, {strategy.entry_time:%H:%M}"
            (lost if before else gained).append(name)
    return _shortened(lost), _shortened(gained)


def _enters(calendar: TradingCalendar, strategy: StrategySpec, day: dt.date) -> bool:
    entry = entry_on(calendar, strategy, day)
    return entry is not None and entry.inside_session


def _shortened(names: Sequence[str]) -> tuple[str, ...]:
    more = len(names) - MOST_NAMES
    return (*names[:MOST_NAMES], *([f"and {more} more"] if more > 0 else []))


def _year_sentences(was: TradingCalendar, becomes: TradingCalendar) -> Iterable[str]:
    for year in sorted(becomes.years - was.years):
        days = (dt.date(year, 1, 1) + dt.timedelta(days=n) for n in range(366))
        open_days = sum(day.year == year and becomes.is_trading_day(day) for day in days)
        yield f"{year} opens, with {open_days} trading days. So far all of it is closed."


def _past_sentence(comparison: Comparison, today: dt.date) -> Iterable[str]:
    past = [day for day in comparison.days if day < today]
    if past:
        yield "Past days stay as they were traded; only their record changes."


def _expiry_warnings(
    was: TradingCalendar, becomes: TradingCalendar, comparison: Comparison, today: dt.date
) -> Iterable[str]:
    """Warnings about listed expiries on days that become closed: the exchange will move them."""
    years = becomes.years - was.years
    listed = (
        Contract.objects.filter(option_type__in=OPTIONS, expiry__gte=today)
        .order_by("expiry", "underlying__symbol")
        .values_list("expiry", "underlying__symbol")
        .distinct()
    )
    by_day: dict[dt.date, list[str]] = {}
    for expiry, symbol in listed:
        if expiry in comparison.days or expiry.year in years:
            by_day.setdefault(expiry, []).append(symbol)
    for expiry, symbols in by_day.items():
        if becomes.is_trading_day(expiry):
            continue
        names = ", ".join(symbols)
        yield (
            f"{names}: an expiry is listed on {day_text(expiry, weekday=True)}, which is closed. "
            f"The exchange moves it to the trading day before{_moved_to(becomes, expiry)}; import "
            "the contract lists again when it has."
        )


def _moved_to(calendar: TradingCalendar, expiry: dt.date) -> str:
    try:
        return f", {day_text(calendar.on_or_before(expiry), weekday=True, year=False)}"
    except CalendarError:
        return ""
