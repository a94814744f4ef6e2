"""Summary of a template: what subscribers trade now, and what publishing would change."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass

from marketplace.calendar import TradingCalendar
from marketplace.definition import Definition, DefinitionError, StrategySpec, parse_definition
from marketplace.diff import Change, changes
from marketplace.entries import next_entry
from marketplace.models import Template, TemplateVersion
from marketplace.ports import RUNS
from marketplace.selectors.market import load_calendar
from marketplace.selectors.templates import draft_definition
from quantleap.core import clock
from quantleap.core.dates import day_text

#: Keys of the strategies whose run of a day is armed, with the version in force then.
Armed = Callable[[dt.date], Collection[str]]


@dataclass(frozen=True, slots=True)
class NextEntry:
    """A strategy's name and the time (UTC) of its entry."""

    strategy: str
    at: dt.datetime

    @property
    def words(self) -> str:
        """``Iron condor on Tue 4 Aug 2026 at 09:20:00 IST``."""
        local = clock.to_ist(self.at)
        day = day_text(local.date(), weekday=True)
        return f"{self.strategy} on {day} at {local:%H:%M:%S} IST"


@dataclass(frozen=True, slots=True)
class Standing:
    """The version in force compared with the draft.

    ``changes`` are the draft's differences (None: the draft has an invalid rule). ``next_entry`` is
    the next entry of all, which trades the version in force; ``reached`` is the first one that
    would trade the draft if it were published now, because a run keeps the version with which it
    was armed.
    """

    version: TemplateVersion | None
    changes: list[Change] | None
    next_entry: NextEntry | None
    reached: NextEntry | None

    @property
    def unpublished(self) -> bool:
        """Whether subscribers trade something other than what the page shows."""
        return self.version is not None and self.changes != []


def standing(template: Template, now: dt.datetime) -> Standing:
    """The summary of ``template`` (with its ``current_version``) at ``now``; a few small
    queries."""
    version = template.current_version
    current = None if version is None else parse_definition(version.definition)
    draft: Definition | None
    try:
        draft = draft_definition(template.pk)
    except DefinitionError:
        draft = None
    trades = template.state in Template.ENTERING
    calendar = load_calendar()
    armed = functools.cache(RUNS.get().made)
    return Standing(
        version=version,
        changes=None if draft is None else changes(current, draft),
        next_entry=_first(current, calendar, now) if trades and current else None,
        reached=_first(draft, calendar, now, armed) if draft else None,
    )


def next_entries(template_ids: Collection[int], now: dt.datetime) -> dict[int, dt.datetime]:
    """When each template enters next with its current version (UTC); without those that do not.

    Two queries, whatever the number of templates.
    """
    calendar = load_calendar()
    templates = Template.objects.filter(
        pk__in=template_ids, state__in=Template.ENTERING, current_version__isnull=False
    ).select_related("current_version")
    entries: dict[int, dt.datetime] = {}
    for template in templates.only("id", "current_version__definition"):
        assert template.current_version is not None  # noqa: S101  filtered above
        first = _first(parse_definition(template.current_version.definition), calendar, now)
        if first is not None:
            entries[template.pk] = first.at
    return entries


def _first(
    definition: Definition, calendar: TradingCalendar, now: dt.datetime, armed: Armed | None = None
) -> NextEntry | None:
    """The first entry of any strategy; ``armed`` excludes the days of runs that are already
    armed."""

    def entry(strategy: StrategySpec) -> dt.datetime | None:
        def taken(day: dt.date) -> bool:
            return armed is not None and strategy.key in armed(day)

        return next_entry(calendar, strategy, now, taken)

    entries = [
        NextEntry(strategy.name, at)
        for strategy in definition.strategies
        if (at := entry(strategy)) is not None
    ]
    return min(entries, key=lambda candidate: candidate.at, default=None)
