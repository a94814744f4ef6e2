"""Reads of alarms for the console: open ones, how the others ended, and where to fix the cause."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, F, Q, QuerySet

from execution.alarms import BOOK_UNREAD, NO_PRICE, SESSION_EXPIRED
from execution.models import Alarm, Execution, OrderIntent
from execution.tags import parse_tag

#: The console page where a cause is fixed, if it is not the page of the alarm's object.
WAYS_OUT: Final[Mapping[str, tuple[str, str]]] = {
    NO_PRICE: ("admin:brokers_feedaccount_changelist", "Feed accounts"),
    SESSION_EXPIRED: ("admin:brokers_brokeraccount_changelist", "Broker accounts"),
    BOOK_UNREAD: ("admin:brokers_brokeraccount_changelist", "Broker accounts"),
}
#: The states of an alarm: label and the rows in that state.
STATES: Final[Mapping[str, tuple[str, Q]]] = {
    "new": ("Open, seen by nobody", Alarm.OPEN & Q(acknowledged_at__isnull=True)),
    "acknowledged": ("Open, acknowledged", Alarm.OPEN & Q(acknowledged_at__isnull=False)),
    "settled": ("Settled by a person", Q(settled_at__isnull=False)),
    "cleared": ("Over by itself", Q(settled_at__isnull=True, cleared_at__isnull=False)),
}


def open_alarms(*, run_id: int | None = None, state: str = "", cause: str = "") -> QuerySet[Alarm]:
    """Open alarms, newest first, with the related rows that lists show.

    ``run_id``: only those of a run and its executions. ``state``: ``new`` or ``acknowledged``.
    """
    alarms = shown().filter(Alarm.OPEN).order_by("-id")
    if run_id is not None:
        alarms = alarms.filter(Q(run_id=run_id) | Q(execution__run_id=run_id))
    if state in STATES:
        alarms = alarms.filter(STATES[state][1])
    return alarms.filter(cause=cause) if cause else alarms


def shown() -> QuerySet[Alarm]:
    """Every alarm, joined with its execution, run and account."""
    return Alarm.objects.select_related(
        "execution__subscription__customer",
        "execution__account",
        "execution__run__template",
        "run__template",
        "account",
    )


def open_causes() -> list[tuple[str, int]]:
    """Causes of open alarms with the number of alarms of each, most frequent first."""
    rows = Alarm.objects.filter(Alarm.OPEN).values_list("cause").annotate(n=Count("id"))
    return sorted(rows.order_by(), key=lambda row: (-row[1], row[0]))


def open_in_words(count: int) -> str:
    """The number of open alarms as a sentence, shared by all pages that count them; '' for none."""
    if not count:
        return ""
    return f"{count} alarms are open" if count > 1 else "An alarm is open"


def alarms_of(execution_id: int) -> list[Alarm]:
    """All alarms an execution ever had: open ones first, newest first within each."""
    rows = list(Alarm.objects.filter(execution_id=execution_id).order_by("-id"))
    return sorted(rows, key=is_open, reverse=True)


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm on an execution's page, with its contract and order if it is about one."""

    alarm: Alarm
    state: str
    symbol: str
    order: OrderIntent | None

    @property
    def is_open(self) -> bool:
        """Whether it waits for a person."""
        return is_open(self.alarm)


def alarm_rows(alarms: Sequence[Alarm], intents: Sequence[OrderIntent]) -> list[AlarmRow]:
    """The alarms of an execution with the symbols of its orders; no query."""
    symbols = {intent.leg_key: intent.symbol for intent in intents}
    orders = {intent.code: intent for intent in intents}
    rows = []
    for alarm in alarms:
        tag = parse_tag(alarm.order_tag)
        order = orders.get(tag.code) if tag else None
        symbol = symbols.get(alarm.leg_key, alarm.leg_key)
        rows.append(AlarmRow(alarm, state_of(alarm), symbol, order))
    return rows


def state_of(alarm: Alarm) -> str:
    """The alarm's state, a key of :data:`STATES`."""
    if alarm.settled_at is not None:
        return "settled"
    if alarm.cleared_at is not None:
        return "cleared"
    return "new" if alarm.acknowledged_at is None else "acknowledged"


def is_open(alarm: Alarm) -> bool:
    """Whether it waits for a person."""
    return state_of(alarm) in ("new", "acknowledged")


def about(alarm: Alarm) -> str:
    """The public id of the alarm's execution or run, else the name of its account."""
    if alarm.execution is not None:
        return alarm.execution.public_id
    return alarm.run.public_id if alarm.run is not None else str(alarm.account)


def executions_alarmed(run_ids: Sequence[int]) -> dict[int, int]:
    """The number of executions with an open alarm, by run (1 query)."""
    rows = (
        Execution.objects.filter(run_id__in=list(run_ids), needs_attention=True)
        .values_list("run_id")
        .annotate(n=Count("id"))
    )
    return dict(rows.order_by())


def with_attention(executions: QuerySet[Execution]) -> QuerySet[Execution]:
    """``executions`` annotated with ``attention``: whether an execution has an open alarm."""
    return executions.annotate(attention=F("needs_attention"))


def age(since: dt.datetime, now: dt.datetime) -> str:
    """Time since ``since``: ``14 s``, ``3 min``, ``2 h 5 min``, ``4 d``."""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 60:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d"
