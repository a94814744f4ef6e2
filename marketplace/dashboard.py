"""The room's part of the console's first page: the session, the entries, the calendar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse

from marketplace.calendar import TradingCalendar
from marketplace.entries import entry_day, entry_on, last_loaded_day
from marketplace.models import Template
from marketplace.selectors import load_calendar, strategies_for_day
from marketplace.selectors.market import square_offs
from marketplace.square_offs import in_force
from marketplace.validation import time_findings
from quantleap.core import clock
from quantleap.core.console import Alarm, Cell, Panel, Tile
from quantleap.core.dates import day_text
from quantleap.core.tenancy import Environment

#: Month and day from which a missing next year is amber, and red.
ASK_FOR_NEXT_YEAR: Final = (10, 15)
NEXT_YEAR_IS_LATE: Final = (11, 15)

_FIELDS: Final = {"entry_time": "Entry", "exit_time": "Exit"}
Entry = tuple[dt.time, int, str, str, int]


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel | Alarm]:
    """The room's tiles, panels and alarms, in a constant number of queries; nothing for users who
    may not view templates."""
    user = request.user
    if not user.has_perm("marketplace.view_template"):
        return []
    calendar = load_calendar()
    day = entry_day(calendar, now, special_ok=True)
    return [
        *_untradable_alarms(calendar, day or clock.ist_date(now)),
        _session_tile(calendar, now),
        _template_tile(),
        _year_tile(calendar, now),
        _entries_panel(calendar, day, now),
    ]


def _untradable_alarms(calendar: TradingCalendar, day: dt.date) -> list[Alarm]:
    """Alarms for published strategies whose times would be refused today, because a limit has
    changed."""
    hours, cut_offs = calendar.ordinary_hours(day), in_force(square_offs(), day)
    return [
        Alarm(
            f"{strategy.name}: its times are no longer allowed",
            " ".join(findings),
            reverse("admin:marketplace_template_change", args=[template_id]),
            "Change and publish it",
        )
        for template_id, _public_id, _version, definition in strategies_for_day(Environment.LIVE)
        for strategy in definition.strategies
        if (
            findings := [
                f"{_FIELDS[name]} {getattr(strategy, name):%H:%M:%S}: {words}"
                for name, words in time_findings(
                    strategy.entry_time, strategy.exit_time, hours, cut_offs
                )
            ]
        )
    ]


def _session_tile(calendar: TradingCalendar, now: dt.datetime) -> Tile:
    day = clock.ist_date(now)
    link = reverse("admin:marketplace_holiday_changelist")
    session = calendar.session(day, special_ok=True)
    coming = entry_day(calendar, now, special_ok=True)
    if session is None or now >= session.closes:
        note = calendar.closed_because(day, special_ok=True) or "over for today"
        after = (
            f"next {day_text(coming, weekday=True, year=False)}"
            if coming
            else "the coming holidays are not loaded"
        )
        return Tile("Session", "Closed", f"{note}; {after}", link, "" if coming else "bad")
    opens, closes = (f"{clock.to_ist(at):%H:%M}" for at in (session.opens, session.closes))
    hours = f"{opens} to {closes} IST"
    if session.special:
        hours += f", {calendar.special_sessions[day].description}"
    is_open = session.contains(now)
    return Tile("Session", "Open" if is_open else "Before the open", hours, link, "good")


def _year_tile(calendar: TradingCalendar, now: dt.datetime) -> Tile:
    """Whether the coming holidays are known: the exchange publishes next year's in December."""
    today = clock.ist_date(now)
    last = last_loaded_day(calendar.years, now)
    year = today.year if last is None else last.year + 1
    load = f"{reverse('admin:marketplace_calendaryear_add')}?year={year}"
    if last is None:
        note = f"the holidays of {year} are not loaded: nothing trades until they are"
        return Tile("Calendar", f"{year} missing", note, load, "bad")
    if last.year > today.year or (today.month, today.day) < ASK_FOR_NEXT_YEAR:
        link = reverse("admin:marketplace_calendaryear_changelist")
        return Tile("Calendar", f"Until {day_text(last)}", "holidays are loaded", link, "good")
    urgent = (today.month, today.day) >= NEXT_YEAR_IS_LATE
    until = day_text(last, year=False)
    note = f"nothing trades after {until} until its holidays are loaded; load them here"
    return Tile("Calendar", f"{year} missing", note, load, "bad" if urgent else "warn")


def _template_tile() -> Tile:
    state = Template.State
    counts = Template.objects.filter(
        environment=Environment.LIVE, owner=Template.Owner.PLATFORM
    ).aggregate(
        listed=Count("id", filter=Q(state=state.LISTED)),
        closed=Count("id", filter=Q(state=state.CLOSED_TO_NEW)),
        drafts=Count("id", filter=Q(state=state.DRAFT)),
    )
    note = f"{counts['closed']} closed to new, {counts['drafts']} drafts"
    link = reverse("admin:marketplace_template_changelist")
    return Tile("Templates listed", str(counts["listed"]), note, link)


def _entries(calendar: TradingCalendar, day: dt.date) -> list[Entry]:
    """(time, template id, strategy, underlying, legs) of the entries on ``day``, by time."""
    entries: list[Entry] = []
    for template_id, _public_id, _version, definition in strategies_for_day(Environment.LIVE):
        for strategy in definition.strategies:
            if entry_on(calendar, strategy, day) is None:
                continue
            row = (strategy.name, strategy.underlying, len(strategy.legs))
            entries.append((strategy.entry_time, template_id, *row))
    return sorted(entries)


def _entries_panel(calendar: TradingCalendar, day: dt.date | None, now: dt.datetime) -> Panel:
    headers = ("Entry (IST)", "Template", "Strategy", "Underlying", "Legs")
    if day is None:
        return Panel("Entries", headers, (), "The holidays of the coming days are not loaded.")
    entries = _entries(calendar, day)
    names = dict(
        Template.objects.filter(pk__in={entry[1] for entry in entries}).values_list("id", "name")
    )
    rows = tuple(
        (
            Cell(f"{entry:%H:%M:%S}" + (" (past)" if clock.at_ist(day, entry) <= now else "")),
            Cell(
                names.get(template_id, ""),
                reverse("admin:marketplace_template_change", args=[template_id]),
            ),
            Cell(strategy),
            Cell(underlying),
            Cell(str(legs)),
        )
        for entry, template_id, strategy, underlying, legs in entries
    )
    return Panel(f"Entries on {day_text(day, weekday=True)}", headers, rows, "No strategy enters.")
