"""What the room shows on the page Today: runs, who needs a person, what is switched off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest
from django.urls import reverse

from execution.looks import to_result
from execution.models import Execution, ExecutorNode, Run
from execution.runpage import RunCounts, run_counts, strategy_of
from execution.selectors import engaged_switches, runs_of_day
from quantleap.core import clock
from quantleap.core.console import Cell, Panel, Tile

MOST_RUNS = 20


def today(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """Six queries at most; nothing for who may not view runs."""
    if not request.user.has_perm("execution.view_run"):
        return []
    return [_switch_tile(), _attention_tile(), _executor_tile(now), _runs_panel(now)]


def _switch_tile() -> Tile:
    engaged = engaged_switches()
    link = reverse("admin:execution_killswitch_changelist")
    if not engaged:
        return Tile("Kill switch", "Off", "new entries are allowed", link)
    return Tile("Kill switch", "Engaged", ", ".join(shown.label for shown in engaged), link, "bad")


def _attention_tile() -> Tile:
    count = Execution.objects.filter(needs_attention=True).count()
    link = reverse("admin:execution_execution_attention")
    note = "executions that a person has to look at" if count else "nothing needs a person"
    return Tile("Attention", str(count), note, link, "bad" if count else "good")


def _executor_tile(now: dt.datetime) -> Tile:
    oldest = now - dt.timedelta(seconds=settings.QUANTLEAP_LEASE_TTL)
    alive = ExecutorNode.objects.filter(heartbeat_at__gte=oldest)
    count = alive.count()
    link = reverse("admin:execution_executornode_changelist")
    if count:
        return Tile("Executors", str(count), "alive", link, "good")
    last = ExecutorNode.objects.aggregate(at=Max("heartbeat_at"))["at"]
    note = f"last heard of at {clock.to_ist(last):%d %b %H:%M:%S}" if last else "none has started"
    return Tile("Executors", "None", note, link, "bad")


def _runs_panel(now: dt.datetime) -> Panel:
    runs = list(runs_of_day(clock.ist_date(now))[:MOST_RUNS])
    counts = run_counts([run.pk for run in runs]) if runs else {}
    return Panel(
        "Runs of today",
        ("Entry", "Strategy", "Template", "Status", "Entered", "Failed", "P&L, ₹"),
        tuple(_row(run, counts.get(run.pk, RunCounts())) for run in runs),
        "No run yet: runs are armed two minutes before their entry.",
    )


def _row(run: Run, counts: RunCounts) -> tuple[Cell, ...]:
    strategy = strategy_of(run)
    link = reverse("admin:execution_run_change", args=[run.pk])
    return (
        Cell(f"{clock.to_ist(run.entry_at):%H:%M:%S}", link),
        Cell(strategy.name if strategy else "?", link),
        Cell(run.template.name),
        Cell(run.get_status_display()),
        Cell(f"{counts.entered} of {counts.total}"),
        Cell(str(counts.failed)),
        Cell("-" if counts.pnl is None else to_result(counts.pnl)),
    )
