"""The trading day on the page Today: runs, what needs a person, kill switch, executors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from django.conf import settings
from django.db.models import Max, Min
from django.http import HttpRequest
from django.urls import reverse

from execution import timing
from execution.alarm_lists import open_causes, open_in_words
from execution.alarms import means
from execution.arming import DueStrategy, never_armed
from execution.clock_offset import in_words
from execution.descriptions import explain
from execution.formatting import to_result
from execution.models import ExecutorNode, Run
from execution.run_report import run_counts, state_of, strategy_of
from execution.run_state import WAYS_OUT, RunCounts, RunState
from execution.selectors import database_now, engaged_switches, runs_of_day, unfinished_runs
from quantleap.core import clock
from quantleap.core.console import Alarm, Cell, Panel, Tile

MOST_RUNS: Final = 20
MOST_CAUSES: Final = 3


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel | Alarm]:
    """Tiles, panels and alarms of the trading day; [] without permission to view runs.

    Constant number of queries.
    """
    if not request.user.has_perm("execution.view_run"):
        return []
    day = clock.ist_date(now)
    runs = list(runs_of_day(day))
    left = list(unfinished_runs(day))
    counts = run_counts([run.pk for run in (*runs, *left)])
    states = {run.pk: state_of(run, counts[run.pk], now) for run in runs}
    return [
        *_attention_alarms(),
        *(_left_alarm(run, counts[run.pk]) for run in left),
        *(_run_alarm(run, states[run.pk]) for run in runs if states[run.pk].alarm),
        *_unarmed_alarms(now),
        _switch_tile(),
        _executor_tile(),
        _runs_panel(runs, counts, states),
    ]


# -- alarms --------------------------------------------------------------------------------------
def _attention_alarms() -> list[Alarm]:
    causes = open_causes()
    count = sum(number for _, number in causes)
    if not count:
        return []
    why = " ".join(f"{number} × {means(cause)}" for cause, number in causes[:MOST_CAUSES])
    link = reverse("admin:execution_execution_attention")
    return [Alarm(open_in_words(count), why, link, "Look at them", count)]


def _left_alarm(run: Run, counts: RunCounts) -> Alarm:
    """The alarm for a run of an earlier day that is not over."""
    at = f"{run.trade_date:%d %b}, {clock.to_ist(run.entry_at):%H:%M}"
    why = (
        f"Its day is over, and executors do not carry it any more. Executions that are not over: "
        f"{counts.live} of {counts.total}; with a position: {counts.held}."
    )
    link = reverse("admin:execution_run_change", args=[run.pk])
    return Alarm(f"{_name(run)}, {at}: left open", why, link, "The run", counts.live)


def _run_alarm(run: Run, state: RunState) -> Alarm:
    """The alarm for a run that most of its subscribers missed, or that makes no progress."""
    what = f"{_name(run)}, {clock.to_ist(run.entry_at):%H:%M}: {state.label.lower()}"
    why = " ".join(filter(None, (state.alarm, explain(state.cause))))
    page, way_out = WAYS_OUT.get(state.cause, ("", "The run"))
    link = reverse(page) if page else reverse("admin:execution_run_change", args=[run.pk])
    return Alarm(what, why, link, way_out)


def _unarmed_alarms(now: dt.datetime) -> list[Alarm]:
    unarmed = never_armed(now=now, timing=timing.from_settings())
    if not unarmed:
        return []
    started = ExecutorNode.objects.aggregate(at=Min("started_at"))["at"]
    return [_unarmed_alarm(due, started) for due in unarmed]


def _unarmed_alarm(due: DueStrategy, started: dt.datetime | None) -> Alarm:
    """``started``: when the oldest executor with a row was started."""
    what = f"{due.strategy.name}, {clock.to_ist(due.entry_at):%H:%M}: never armed"
    why = "Nobody armed it before the entry."
    if started is None or started > due.entry_at:
        # Live executors remove the rows of dead ones, so no more than this is known.
        why += " No executor that is known now was running by then."
    return Alarm(what, why, reverse("admin:execution_executornode_changelist"), "Executors")


# -- tiles ---------------------------------------------------------------------------------------
def _switch_tile() -> Tile:
    engaged = engaged_switches()
    link = reverse("admin:execution_killswitch_changelist")
    if not engaged:
        return Tile("Kill switch", "Off", "new entries are allowed", link)
    return Tile("Kill switch", "Engaged", ", ".join(shown.label for shown in engaged), link, "bad")


def _executor_tile() -> Tile:
    oldest = database_now() - dt.timedelta(seconds=settings.QUANTLEAP_LEASE_TTL)
    alive = list(ExecutorNode.objects.filter(heartbeat_at__gte=oldest))
    link = reverse("admin:execution_executornode_changelist")
    if off := [node for node in alive if node.is_off]:
        note = f"the clock of {off[0].owner} is {in_words(off[0].clock_offset_ms or 0)}"
        return Tile("Executors", f"{len(off)} of {len(alive)}: clock off", note, link, "bad")
    if alive:
        return Tile("Executors", str(len(alive)), "alive", link, "good")
    last = ExecutorNode.objects.aggregate(at=Max("heartbeat_at"))["at"]
    note = f"last heard of at {_ours(last):%d %b %H:%M:%S}" if last else "none has started"
    return Tile("Executors", "None", note, link, "bad")


def _ours(instant: dt.datetime) -> dt.datetime:
    """An instant of the database's clock, moved by the clock's offset, in IST."""
    return clock.to_ist(instant + dt.timedelta(seconds=clock.offset_seconds()))


# -- the runs of today ---------------------------------------------------------------------------
def _runs_panel(
    runs: Sequence[Run], counts: Mapping[int, RunCounts], states: Mapping[int, RunState]
) -> Panel:
    return Panel(
        "Runs of today",
        ("Entry", "Strategy", "Template", "Status", "Entered", "Not entered", "Why", "P&L, ₹"),
        tuple(_row(run, counts[run.pk], states[run.pk]) for run in runs[-MOST_RUNS:]),
        "No run yet: runs are armed two minutes before their entry.",
    )


def _row(run: Run, counts: RunCounts, state: RunState) -> tuple[Cell, ...]:
    link = reverse("admin:execution_run_change", args=[run.pk])
    return (
        Cell(f"{clock.to_ist(run.entry_at):%H:%M:%S}", link),
        Cell(_name(run), link),
        Cell(run.template.name),
        Cell(state.label, tone=state.tone),
        Cell(f"{counts.entered} of {counts.total}"),
        Cell(str(counts.failed)),
        Cell(explain(state.cause)),
        Cell("-" if counts.pnl is None else to_result(counts.pnl)),
    )


def _name(run: Run) -> str:
    strategy = strategy_of(run)
    return strategy.name if strategy else "?"
