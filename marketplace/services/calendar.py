"""Changes of the trading calendar, for the console's pages and for files.

A caller first gets the effect of a change (:func:`propose`) and then requests exactly that
(:func:`change_calendar`). If the calendar has changed in between, the request is refused.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from marketplace.calendar_changes import (
    CalendarMistake,
    Change,
    Comparison,
    Key,
    Row,
    Rows,
    Table,
    check,
    check_source,
    compare,
    keyed,
    with_list,
)
from marketplace.models import CalendarYear, Holiday, SessionHours, SpecialSession
from marketplace.selectors.calendar import calendar_rows
from marketplace.services.reference import DATA, read_object
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import DomainError, InvalidRequest
from quantleap.core.locks import transaction_lock

CALENDAR_FILE: Final = DATA / "calendar_2025_2026.json"
_LOCK: Final = "trading-calendar"

#: A pure change of the rows, such as ``lambda rows: with_row(rows, row)``.
Edit = Callable[[Rows], dict[Key, Row]]


class CalendarMoved(DomainError):
    """409: somebody changed the calendar after the preview was made."""

    status = 409
    code = "calendar_moved"
    error = "The calendar was changed meanwhile; look at the new preview"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that could be made now. ``seen`` identifies exactly this one."""

    before: Rows
    after: Rows
    comparison: Comparison

    @property
    def seen(self) -> str:
        """A fingerprint of the calendar before and after the change."""
        parts = [
            repr(sorted(rows.values(), key=lambda row: (row.day, row.table.value)))
            for rows in (self.before, self.after)
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def propose(edit: Edit, *, because: str) -> Proposal:
    """The effect of ``edit`` on the current calendar, with ``because`` as its source.

    InvalidRequest (400) with the field if it is impossible.
    """
    before = calendar_rows()
    try:
        check_source(because)
        after = edit(before)
        comparison = compare(before, after)
        check(after, comparison)
        for change in comparison.changes:
            _refuse_unloaded_hours(change, after)
    except CalendarMistake as error:
        details = {error.field: str(error)} if error.field else {}
        raise InvalidRequest(str(error), details=details) from error
    if not comparison.changes:
        raise InvalidRequest("Nothing changes: the calendar already says so")
    return Proposal(before, after, comparison)


def _refuse_unloaded_hours(change: Change, after: Rows) -> None:
    """Refuse hours in a year that is not loaded, because the year records who edited it."""
    row = change.row
    if row.table is Table.HOURS and (Table.YEAR, dt.date(row.day.year, 1, 1)) not in after:
        raise CalendarMistake(f"The holidays of {row.day.year} are not loaded yet", "day")


@transaction.atomic
def change_calendar(
    *, edit: Edit, because: str, seen: str, actor: Actor, now: dt.datetime
) -> Comparison:
    """Make the change that was shown as ``seen``; CalendarMoved (409) if it would now be another
    one.

    Audited with every row. Takes effect with the next arming; InvalidRequest as in :func:`propose`.
    """
    transaction_lock(_LOCK)
    proposal = propose(edit, because=because)
    if proposal.seen != seen:
        raise CalendarMoved
    _write(proposal.comparison, now)
    years = {change.row.day.year for change in proposal.comparison.changes}
    CalendarYear.objects.filter(year__in=years).update(edited_at=now, edited_by=actor.id)
    _audit("calendar.edited", proposal.comparison, actor, because)
    return proposal.comparison


# -- files --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a file changed (or would change, in a dry run), and the years that it left alone."""

    comparison: Comparison
    held: Mapping[int, HeldYear]


@dataclass(frozen=True, slots=True)
class HeldYear:
    """A year that was edited in the console since it was loaded, with its differences from the
    file."""

    edited_at: dt.datetime
    edited_by: str
    comparison: Comparison


def load_calendar_file(
    path: Path = CALENDAR_FILE,
    *,
    now: dt.datetime,
    actor: Actor = audit.SYSTEM,
    replace: bool = False,
    dry_run: bool = False,
) -> LoadReport:
    """Load years, holidays, special sessions and session hours from a file.

    The file is the complete truth for its years, except for a year that staff have edited in the
    console since: that one stays as it is unless ``replace``. A year opens only if the file
    contains a holiday in it, because an empty list would look like a year without holidays.
    Otherwise, and for a malformed file, raises InvalidRequest and writes nothing.
    """
    data = read_object(path)
    try:
        listed = _listed(data)
        with transaction.atomic():
            transaction_lock(_LOCK)
            return _load(listed, path.name, now=now, actor=actor, replace=replace, dry_run=dry_run)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{path.name}: {error}") from error


def _load(
    listed: Rows, source: str, *, now: dt.datetime, actor: Actor, replace: bool, dry_run: bool
) -> LoadReport:
    before = calendar_rows()
    after = with_list(before, listed)
    check(after, compare(before, after))
    held = {} if replace else _held_years(before, after)
    merged = {
        **{key: row for key, row in after.items() if row.day.year not in held},
        **{key: row for key, row in before.items() if row.day.year in held},
    }
    comparison = compare(before, merged)
    if comparison.changes and not dry_run:
        _write(comparison, now)
        _audit("calendar.loaded", comparison, actor, source)
    if replace and not dry_run:
        years = {row.day.year for row in listed.values()}
        CalendarYear.objects.filter(year__in=years).update(edited_at=None, edited_by="")
    return LoadReport(comparison, held)


def _held_years(before: Rows, after: Rows) -> dict[int, HeldYear]:
    """Edited years in which the file differs."""
    held = {}
    for year in CalendarYear.objects.filter(edited_at__isnull=False):
        old, new = (
            {key: row for key, row in rows.items() if row.day.year == year.year}
            for rows in (before, after)
        )
        difference = compare(old, new)
        if difference.changes and year.edited_at is not None:
            held[year.year] = HeldYear(year.edited_at, year.edited_by, difference)
    return held


def _listed(data: Mapping[str, Any]) -> dict[Key, Row]:
    """The rows of a file; KeyError, TypeError or ValueError if it is malformed."""
    day, wall = dt.date.fromisoformat, dt.time.fromisoformat
    return keyed(
        [
            *(
                Row(Table.YEAR, dt.date(int(row["year"]), 1, 1), str(row["source"]))
                for row in data["years"]
            ),
            *(
                Row(Table.HOLIDAY, day(row["date"]), row["source"], row["description"])
                for row in data["holidays"]
            ),
            *(
                Row(
                    Table.SPECIAL,
                    day(row["date"]),
                    row["source"],
                    row["description"],
                    wall(row["opens_at"]),
                    wall(row["closes_at"]),
                )
                for row in data["special_sessions"]
            ),
            *(
                Row(
                    Table.HOURS,
                    day(row["effective_from"]),
                    row["source"],
                    opens=wall(row["opens_at"]),
                    closes=wall(row["closes_at"]),
                )
                for row in data["session_hours"]
            ),
        ]
    )


# -- writing ------------------------------------------------------------------------------------


def _write(comparison: Comparison, now: dt.datetime) -> None:
    for change in comparison.changes:
        if change.after is None:
            _delete(change.row)
        else:
            _store(change.after, now)


def _delete(row: Row) -> None:
    if row.table is Table.HOLIDAY:
        Holiday.objects.filter(date=row.day).delete()
    elif row.table is Table.SPECIAL:
        SpecialSession.objects.filter(date=row.day).delete()
    elif row.table is Table.HOURS:
        SessionHours.objects.filter(effective_from=row.day).delete()
    else:
        CalendarYear.objects.filter(year=row.day.year).delete()


def _store(row: Row, now: dt.datetime) -> None:
    if row.table is Table.YEAR:
        CalendarYear.objects.update_or_create(
            year=row.day.year,
            defaults={"source": row.source},
            create_defaults={"source": row.source, "loaded_at": now},
        )
        return
    if row.table is Table.HOLIDAY:
        Holiday.objects.update_or_create(
            date=row.day, defaults={"description": row.description, "source": row.source}
        )
        return
    hours: dict[str, Any] = {
        "opens_at": row.opens,
        "closes_at": row.closes,
        "source": row.source,
    }
    if row.table is Table.SPECIAL:
        hours["description"] = row.description
        SpecialSession.objects.update_or_create(date=row.day, defaults=hours)
    else:
        SessionHours.objects.update_or_create(effective_from=row.day, defaults=hours)


def _audit(action: str, comparison: Comparison, actor: Actor, because: str) -> None:
    years = sorted({change.row.day.year for change in comparison.changes})
    audit.record(
        actor=actor,
        action=action,
        target_type="calendar",
        target_id=", ".join(map(str, years))[:64],
        data={
            "because": because[:200],
            "changes": [
                {
                    "what": f"{change.row.table.value} {change.verb}",
                    "row": str(change.row),
                    "was": change.was,
                    "source": change.row.source,
                }
                for change in comparison.changes
            ],
        },
    )
