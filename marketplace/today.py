"""What the room shows on the console's page Today: the session, the entries, the contract list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.db.models import Count, Max, Q
from django.http import HttpRequest
from django.urls import reverse

from marketplace.calendar import CalendarError, TradingCalendar
from marketplace.models import Contract, Template
from marketplace.selectors import load_calendar, strategies_for_day
from quantleap.core import clock
from quantleap.core.console import Cell, Panel, Tile
from quantleap.core.tenancy import Environment

Entry = tuple[dt.time, int, str, str, int]


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """A constant number of queries; nothing for who may not view templates."""
    user = request.user
    if not user.has_perm("marketplace.view_template"):
        return []
    calendar = load_calendar()
    day = _entry_day(calendar, now)
    return [
        _session_tile(calendar, now),
        _template_tile(),
        _contract_tile(calendar, now),
        _entries_panel(calendar, day, now),
    ]


def _entry_day(calendar: TradingCalendar, now: dt.datetime) -> dt.date | None:
    """Today until its session closes, then the next trading day; None beyond loaded years."""
    day = clock.ist_date(now)
    session = calendar.session(day, special_ok=True)
    if session is not None and now < session.closes:
        return day
    try:
        return calendar.on_or_after(day + dt.timedelta(days=1))
    except CalendarError:
        return None


def _session_tile(calendar: TradingCalendar, now: dt.datetime) -> Tile:
    day = clock.ist_date(now)
    link = reverse("admin:marketplace_holiday_changelist")
    session = calendar.session(day, special_ok=True)
    coming = _entry_day(calendar, now)
    if session is None or now >= session.closes:
        note = calendar.closed_because(day, special_ok=True) or "over for today"
        after = f"next {coming:%a %d %b}" if coming else "next year's holidays are not loaded"
        return Tile("Session", "Closed", f"{note}; {after}", link, "" if coming else "bad")
    opens, closes = (f"{clock.to_ist(one):%H:%M}" for one in (session.opens, session.closes))
    hours = f"{opens} to {closes} IST"
    if session.special:
        hours += f", {calendar.special_sessions[day].description}"
    is_open = session.contains(now)
    return Tile("Session", "Open" if is_open else "Before the open", hours, link, "good")


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


def _contract_tile(calendar: TradingCalendar, now: dt.datetime) -> Tile:
    newest: dt.date | None = Contract.objects.aggregate(day=Max("last_seen"))["day"]
    link = reverse("admin:marketplace_contract_changelist")
    if newest is None:
        return Tile("Contract list", "None", "import_instruments loads it", link, "bad")
    day = clock.ist_date(now)
    stale = calendar.is_trading_day(day) and newest < day
    note = "not today's: import_instruments loads it" if stale else "newest list"
    return Tile("Contract list", f"{newest:%d %b}", note, link, "warn" if stale else "good")


def _entries(calendar: TradingCalendar, day: dt.date) -> list[Entry]:
    """(time, template id, strategy, underlying, legs) of what enters on ``day``, by time."""
    found: list[Entry] = []
    for template_id, _public_id, _version, definition in strategies_for_day(Environment.LIVE):
        for strategy in definition.strategies:
            if strategy.weekdays and day.weekday() not in strategy.weekdays:
                continue
            if calendar.session(day, strategy.special_sessions) is None:
                continue
            row = (strategy.name, strategy.underlying, len(strategy.legs))
            found.append((strategy.entry_time, template_id, *row))
    return sorted(found)


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
    return Panel(f"Entries on {day:%A, %d %B}", headers, rows, "No strategy enters.")
