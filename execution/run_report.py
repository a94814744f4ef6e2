"""Reads for the run page: a constant number of queries whatever the run's size."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, nextafter
from typing import Any, Final

from django.db import connection
from django.db.models import (
    Case,
    Count,
    Exists,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)

from execution import lifecycle
from execution.alarm_lists import executions_alarmed, with_attention
from execution.descriptions import explain
from execution.models import Execution, LegWatch, OrderIntent, Run, RunDecision
from execution.run_state import RunCounts, RunState, RunTimes, run_state
from execution.selectors import Scorecard
from marketplace.definition import StrategySpec, parse_definition
from marketplace.models import Contract
from subscriptions.models import Subscription

#: Milliseconds after T at which the charts count.
EDGES: Final = (
    1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750,
    1000, 1500, 2000, 3000, 5000, 10_000, 20_000, 30_000, 60_000,
)  # fmt: skip

_COUNTS: Final = """
SELECT kind, width_bucket(ms, %s::float8[]) AS place, count(*)
  FROM (
       SELECT EXTRACT(EPOCH FROM (i.sent_at - r.entry_at)) * 1000 AS sent,
              EXTRACT(EPOCH FROM (i.answered_at - r.entry_at)) * 1000 AS answered,
              CASE WHEN i.state = 'FILLED'
                   THEN EXTRACT(EPOCH FROM (i.final_at - r.entry_at)) * 1000 END AS filled,
              i."group" = 0 AND i.slice = 0 AS first
         FROM execution_orderintent i JOIN execution_run r ON r.id = i.run_id
        WHERE i.run_id = %s AND i.purpose = 'ENTRY' AND i.sent_at IS NOT NULL
       ) AS orders
 CROSS JOIN LATERAL (VALUES
       (0, sent), (1, answered), (2, filled), (3, CASE WHEN first THEN sent END)
       ) AS instants (kind, ms)
 WHERE ms IS NOT NULL
 GROUP BY kind, place
"""


@dataclass(frozen=True, slots=True)
class Charts:
    """Two charts as JSON for Chart.js; '' while nothing was sent."""

    progress: str = ""
    lateness: str = ""
    options: str = ""


def charts(run_id: int) -> Charts:
    """Entry orders sent, answered and filled by time after T; lateness of the first bytes."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, [[nextafter(edge, inf) for edge in EDGES], run_id])
        rows = _cumulated(cursor.fetchall())
    if not rows or not rows[-1][1]:
        return Charts()
    last = next(n for n, row in enumerate(rows) if tuple(row[1:]) == tuple(rows[-1][1:]))
    shown = rows[: last + 1]
    labels = [_span(row[0]) for row in shown]
    late_until = next(n for n, row in enumerate(rows) if row[4] == rows[-1][4])
    late = rows[: late_until + 1]
    steps = [row[4] - (late[n - 1][4] if n else 0) for n, row in enumerate(late)]
    return Charts(
        progress=json.dumps(
            {
                "labels": labels,
                "datasets": [
                    _line("Sent", [row[1] for row in shown], "var(--color-primary-500)"),
                    _line("Answered", [row[2] for row in shown], "#d97706"),
                    _line("Filled", [row[3] for row in shown], "#16a34a"),
                ],
            }
        ),
        lateness=json.dumps(
            {
                "labels": [f"≤ {_span(row[0])}" for row in late],
                "datasets": [
                    {
                        "label": "First bytes",
                        "data": steps,
                        "backgroundColor": "var(--color-primary-500)",
                        "borderRadius": 3,
                    }
                ],
            }
        ),
        options=_OPTIONS,
    )


def _cumulated(tallies: Sequence[tuple[int, int, int]]) -> list[list[int]]:
    """Cumulative ``(edge, sent, answered, filled, first bytes)`` rows from counts between edges.

    ``tallies`` has ``(kind, place, count)``; place n is after n edges. An instant exactly at an
    edge belongs to it, because the query's edges are moved up by the smallest float step.
    """
    between = [[0, 0, 0, 0] for _ in range(len(EDGES) + 1)]
    for kind, place, count in tallies:
        between[place][kind] = count
    rows: list[list[int]] = []
    sums = [0, 0, 0, 0]
    for edge, counts in zip(EDGES, between, strict=False):
        sums = [before + count for before, count in zip(sums, counts, strict=True)]
        rows.append([edge, *sums])
    return rows


def _span(milliseconds: float) -> str:
    return f"{milliseconds:g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:g} s"


def _line(label: str, data: Sequence[int], colour: str) -> dict[str, Any]:
    return {
        "label": label,
        "data": list(data),
        "borderColor": colour,
        "backgroundColor": colour,
        "borderWidth": 2,
        "pointRadius": 0,
        "pointHitRadius": 8,
        "tension": 0,
    }


_TICKS: Final = {"color": "#9ca3af", "maxRotation": 0, "autoSkipPadding": 12}
_OPTIONS: Final = json.dumps(
    {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "interaction": {"mode": "index", "intersect": False},
        "scales": {
            "x": {"grid": {"display": False}, "ticks": _TICKS},
            "y": {"beginAtZero": True, "grid": {}, "ticks": {**_TICKS, "precision": 0}},
        },
        "plugins": {
            "legend": {
                "align": "end",
                "labels": {"color": "#9ca3af", "boxWidth": 10, "boxHeight": 10},
            }
        },
    }
)


# -- decisions -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LegRow:
    """One leg of the entry decision: contract, prices in rupees, levels and triggers."""

    label: str
    contract: Contract | None
    prices: Mapping[str, Any]
    watch: LegWatch | None


@dataclass(frozen=True, slots=True)
class LaterDecision:
    """A decision after the entry: the leg's label ('' for all legs), and the reason as text."""

    decision: RunDecision
    leg: str
    why: str


@dataclass(frozen=True, slots=True)
class Decided:
    """Decisions of a run: the entry with its legs, and all later ones."""

    legs: tuple[LegRow, ...] = ()
    entry: RunDecision | None = None
    later: tuple[LaterDecision, ...] = ()
    missed: str = ""


def decided(run: Run) -> Decided:
    """Contracts, reference prices, levels and triggers of a run (3 queries)."""
    decisions = list(RunDecision.objects.filter(run=run).order_by("id"))
    watches = {watch.leg_key: watch for watch in LegWatch.objects.filter(run=run)}
    entry = next((d for d in decisions if d.kind == "ENTRY"), None)
    legs: Mapping[str, Any] = entry.payload["legs"] if entry else {}
    contracts = Contract.objects.select_related("underlying").in_bulk(
        [leg["contract_id"] for leg in legs.values()]
    )
    labels = {key: leg["label"] for key, leg in legs.items()}
    return Decided(
        legs=tuple(
            LegRow(leg["label"], contracts.get(leg["contract_id"]), leg, watches.get(key))
            for key, leg in legs.items()
        ),
        entry=entry,
        missed=_missed(entry),
        later=tuple(
            LaterDecision(
                decision,
                labels.get(decision.payload.get("leg", ""), ""),
                explain(decision.payload.get("reason", decision.kind)),
            )
            for decision in decisions
            if decision is not entry
        ),
    )


def _missed(entry: RunDecision | None) -> str:
    """Why the decision was that nobody enters: the cause's sentence and the message; else ''."""
    if entry is None or not entry.payload.get("missed"):
        return ""
    words, message = explain(entry.payload["missed"]), entry.payload.get("message", "")
    return f"{words} ({message})" if message else words


def strategy_of(run: Run) -> StrategySpec | None:
    """The strategy in the run's pinned version; no query if the version is loaded."""
    definition = parse_definition(run.version.definition)
    key = str(run.strategy_key)
    return next((s for s in definition.strategies if s.key == key), None)


# -- lists ---------------------------------------------------------------------------------------
_URGENCY: Final = Case(
    When(needs_attention=True, then=Value(0)),
    When(status=lifecycle.FAILED, then=Value(1)),
    When(status=lifecycle.MISSED, then=Value(2)),
    default=Value(3),
    output_field=IntegerField(),
)


def run_executions(run_id: int, *, status: str = "", cause: str = "") -> QuerySet[Execution]:
    """Executions of a run; those with alarms, failures or misses first."""
    executions = (
        with_attention(Execution.objects.filter(run_id=run_id))
        .select_related("subscription__customer", "account")
        .order_by(_URGENCY, "id")
    )
    if status:
        executions = executions.filter(status=status)
    if cause:
        ordered = OrderIntent.objects.filter(run_id=run_id, cause=cause).values("execution_id")
        executions = executions.filter(Q(cause=cause) | Q(pk__in=ordered))
    return executions


def run_orders(run_id: int, *, state: str = "", purpose: str = "") -> QuerySet[OrderIntent]:
    """Orders of a run in the order in which they were created."""
    orders = (
        OrderIntent.objects.filter(run_id=run_id)
        .select_related("account", "execution")
        .order_by("id")
    )
    if state:
        orders = orders.filter(state=state)
    return orders.filter(purpose=purpose) if purpose else orders


# -- the list of runs ----------------------------------------------------------------------------


def run_counts(run_ids: Sequence[int]) -> dict[int, RunCounts]:
    """Figures for a page of runs (3 queries); zeros for a run without executions."""
    rows = (
        Execution.objects.filter(run_id__in=list(run_ids))
        .values("run_id", "status", "cause")
        .annotate(
            count=Count("id"),
            pnl=Sum("realised_pnl"),
        )
        .order_by()
    )
    by_run: dict[int, list[Mapping[str, Any]]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        by_run[row["run_id"]].append(row)
    awaited = Subscription.objects.filter(
        template=OuterRef("template_id"),
        status=Subscription.Status.ACTIVE,
        status_changed_at__lt=OuterRef("entry_at"),
    )
    subscribed = set(
        Run.objects.filter(Exists(awaited), pk__in=list(by_run)).values_list("pk", flat=True)
    )
    alarmed = executions_alarmed(list(by_run))
    return {
        run_id: _counted(run_rows, run_id in subscribed, alarmed.get(run_id, 0))
        for run_id, run_rows in by_run.items()
    }


def _counted(rows: Sequence[Mapping[str, Any]], subscribed: bool, alarmed: int) -> RunCounts:
    statuses: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    withdrawn: Counter[str] = Counter()
    for row in rows:
        statuses[row["status"]] += row["count"]
        if row["cause"] and row["status"] in lifecycle.LOST:
            causes[row["cause"]] += row["count"]
        elif row["cause"] and row["status"] == lifecycle.WITHDRAWN:
            withdrawn[row["cause"]] += row["count"]
    earned = [row["pnl"] for row in rows if row["pnl"] is not None]
    return RunCounts(
        by_status=statuses,
        causes=causes,
        withdrawn=withdrawn,
        attention=alarmed,
        pnl=sum(earned, Decimal(0)) if earned else None,
        subscribed=subscribed,
    )


def state_of(run: Run, counts: RunCounts, now: dt.datetime) -> RunState:
    """The state of a run at ``now``; no query."""
    times = RunTimes(run.entry_at, run.grace_until, run.exit_at)
    return run_state(run.status, run.cause, times, counts, now)


@dataclass(frozen=True, slots=True)
class CauseRow:
    """A cause, its sentence, and how often it occurred."""

    cause: str
    words: str
    count: int


def causes_in_words(card: Scorecard) -> list[CauseRow]:
    """Causes of a scorecard, the most frequent first."""
    rows = sorted(card.causes.items(), key=lambda item: (-item[1], item[0]))
    return [CauseRow(cause, explain(cause), count) for cause, count in rows]
