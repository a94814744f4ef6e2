"""Reads of the trading day that several interfaces share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Count, QuerySet, Sum

from execution.alarms import DUPLICATE
from execution.descriptions import brokers_words, explain
from execution.models import Execution, KillSwitch, LegWatch, OrderIntent, Run
from marketplace.models import Template
from quantleap.core.money import rupees


def database_now() -> dt.datetime:
    """The database's time (UTC), by which leases run."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: dt.datetime = cursor.fetchone()[0]
        return now


def accounts_with_open_positions(account_ids: Sequence[int]) -> set[int]:
    """Those of these accounts with an execution that is entering, holding or exiting."""
    rows = Execution.objects.filter(account_id__in=list(account_ids), status__in=Execution.WORKING)
    return set(rows.values_list("account_id", flat=True))


@dataclass(frozen=True, slots=True)
class Lateness:
    """Milliseconds after T, over the first slices of the first order group."""

    count: int = 0
    first: Decimal | None = None
    p50: Decimal | None = None
    p95: Decimal | None = None
    p99: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The figures on a run's page."""

    executions: dict[str, int] = field(default_factory=dict)
    orders: dict[str, int] = field(default_factory=dict)
    planned: int = 0
    sent: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    first_byte: Lateness = field(default_factory=Lateness)
    answered: Lateness = field(default_factory=Lateness)
    slippage: Decimal | None = None
    realised_pnl: Decimal | None = None


_LATENESS: Final = """
SELECT name, count(*), min(ms), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY ms),
       percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), max(ms)
  FROM (SELECT name, EXTRACT(EPOCH FROM (instant - r.entry_at)) * 1000 AS ms
          FROM execution_orderintent i JOIN execution_run r ON r.id = i.run_id
         CROSS JOIN LATERAL (VALUES ('sent', i.sent_at), ('answered', i.answered_at))
               AS instants (name, instant)
         WHERE i.run_id = %s AND i.purpose = 'ENTRY' AND i."group" = 0
           AND i.slice = 0 AND instant IS NOT NULL) AS late
 GROUP BY name
"""


def _lateness(run_id: int) -> dict[str, Lateness]:
    """Lateness of first bytes (``sent``) and answers (``answered``) of a run, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(_LATENESS, [run_id])
        rows = cursor.fetchall()
    return {
        name: Lateness(count, *(Decimal(str(f)).quantize(Decimal("0.1")) for f in figures))
        for name, count, *figures in rows
    }


def scorecard(run_id: int) -> Scorecard:
    """The figures of one run; a constant number of queries whatever its size."""
    executions = dict(
        Execution.objects.filter(run_id=run_id)
        .values_list("status")
        .annotate(n=Count("id"))
        .order_by()
    )
    intents = OrderIntent.objects.filter(run_id=run_id)
    orders = dict(
        intents.filter(purpose="ENTRY").values_list("state").annotate(n=Count("id")).order_by()
    )
    causes = dict(
        intents.exclude(cause="").values_list("cause").annotate(n=Count("id")).order_by("-n")
    )
    unready = (
        Execution.objects.filter(run_id=run_id, intents__isnull=True)
        .exclude(cause="")
        .values_list("cause")
        .annotate(n=Count("id"))
        .order_by()
    )
    for cause, count in unready:
        causes[cause] = causes.get(cause, 0) + count
    pnl = Execution.objects.filter(run_id=run_id).aggregate(total=Sum("realised_pnl"))["total"]
    late = _lateness(run_id)
    return Scorecard(
        executions=executions,
        orders=orders,
        planned=sum(orders.values()),
        sent=intents.filter(purpose="ENTRY", sends__gt=0).count(),
        causes=causes,
        first_byte=late.get("sent", Lateness()),
        answered=late.get("answered", Lateness()),
        slippage=_slippage(run_id),
        realised_pnl=pnl,
    )


def _slippage(run_id: int) -> Decimal | None:
    """Rupees per unit paid worse than the reference price, averaged over filled entry units."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT sum((CASE side WHEN 'BUY' THEN 1 ELSE -1 END)
                       * (average_price - reference_price) * filled_quantity)
                   / NULLIF(sum(filled_quantity), 0)
              FROM execution_orderintent WHERE run_id = %s AND purpose = 'ENTRY'
            """,
            [run_id],
        )
        row = cursor.fetchone()
    return row[0].quantize(Decimal("0.01")) if row and row[0] is not None else None


def executions_of(subscription_id: int) -> QuerySet[Execution]:
    """A subscription's executions, newest first, ready for :func:`execution_summary`."""
    return with_what_is_shown(Execution.objects.filter(subscription_id=subscription_id))


def with_what_is_shown(executions: QuerySet[Execution]) -> QuerySet[Execution]:
    """``executions``, newest first, with the rows :func:`execution_summary` reads (2 queries)."""
    return (
        executions.select_related("run", "allocation", "account")
        .prefetch_related("intents")
        .order_by("-id")
    )


def execution_summary(execution: Execution) -> dict[str, Any]:
    """One execution for the API: status, legs, fills, P&L, and the failure as text."""
    run = execution.run
    return {
        "execution_id": execution.public_id,
        "run": run.public_id,
        "trade_date": run.trade_date,
        "entry_at": run.entry_at,
        "exit_at": run.exit_at,
        "status": execution.status,
        "broker": execution.account.broker,
        "client_id": execution.account.client_id,
        "lot_multiplier": execution.lot_multiplier,
        "pnl": execution.realised_pnl,
        "currency": "INR",
        "exit_reason": execution.exit_reason or None,
        "failure": _failure(execution),
        "legs": leg_summaries(execution.intents.all()),
        "orders": [order_summary(intent) for intent in execution.intents.all()],
    }


def _failure(execution: Execution) -> dict[str, str] | None:
    if not execution.cause:
        return None
    return {
        "cause": execution.cause,
        "message": explain(execution.cause),
        "broker_message": brokers_words(execution.cause, execution.message),
    }


def leg_summaries(intents: Iterable[OrderIntent]) -> list[dict[str, Any]]:
    """What was traded by leg: units and average rupees in and out, and the reason of the exit."""
    by_leg: dict[str, list[OrderIntent]] = {}
    for intent in sorted(intents, key=lambda i: (i.leg_index, i.id)):
        by_leg.setdefault(intent.leg_key, []).append(intent)
    return [_leg_summary(leg_intents) for leg_intents in by_leg.values()]


def _leg_summary(intents: Sequence[OrderIntent]) -> dict[str, Any]:
    entries = [i for i in intents if i.purpose == OrderIntent.Purpose.ENTRY]
    exits = [i for i in intents if i.purpose != OrderIntent.Purpose.ENTRY]
    first = intents[0]
    side = entries[0].side if entries else first.side
    # By side, not by purpose: the order that closes one exit too many has the entry's side.
    opening, closing = (
        [i for i in intents if i.side == side],
        [i for i in intents if i.side != side],
    )
    reasons = [i.reason for i in exits if i.reason]
    return {
        "symbol": first.symbol,
        "side": side,
        "planned_quantity": sum(i.quantity for i in entries),
        "entered_quantity": sum(traded(i) for i in opening),
        "entry_price": average_price(opening),
        "exited_quantity": sum(traded(i) for i in closing),
        "exit_price": average_price(closing),
        "exit_reason": next((r for r in reasons if r != DUPLICATE), next(iter(reasons), None)),
    }


def traded(intent: OrderIntent) -> int:
    """Units that an intent's orders traded, duplicates included."""
    return intent.filled_quantity + intent.surplus_quantity


def average_price(intents: Sequence[OrderIntent]) -> Decimal | None:
    """Average rupees per filled unit; None if nothing filled."""
    units = sum(traded(i) for i in intents)
    return rupees(_spent(intents) / units) if units else None


def _spent(intents: Sequence[OrderIntent]) -> Decimal:
    return sum(
        (
            i.filled_quantity * i.average_price + i.surplus_quantity * i.surplus_price
            for i in intents
        ),
        Decimal(0),
    )


def order_summary(intent: OrderIntent) -> dict[str, Any]:
    """One order for the API, with times to the millisecond."""
    return {
        "tag": intent.tag,
        "broker_order_id": intent.broker_order_id or None,
        "purpose": intent.purpose,
        "reason": intent.reason or None,
        "symbol": intent.symbol,
        "side": intent.side,
        "quantity": intent.quantity,
        "filled_quantity": intent.filled_quantity,
        "price": intent.price,
        "average_price": intent.average_price.quantize(Decimal("0.01")),
        "surplus_quantity": intent.surplus_quantity,
        "price_source": intent.price_source or None,
        "price_age": intent.price_age,
        "state": intent.state,
        "cause": intent.cause or None,
        "message": intent.message or None,
        "sent_at": intent.sent_at,
        "answered_at": intent.answered_at,
    }


@dataclass(frozen=True, slots=True)
class OpenLeg:
    """A subscription's open position in one leg: signed units, prices in rupees per unit.

    ``average_price`` is not rounded to the paisa, so that the MTM is exact.
    """

    execution_id: str
    contract: str
    quantity: int
    average_price: Decimal
    stop_price: Decimal | None
    target_price: Decimal | None
    contract_id: int


def open_legs(subscription_id: int) -> list[OpenLeg]:
    """Open legs of a subscription: entry fills less exit fills (3 queries)."""
    executions = {
        e.pk: e
        for e in Execution.objects.filter(
            subscription_id=subscription_id, status__in=Execution.WORKING
        )
    }
    watches = {
        (w.run_id, w.leg_key): w
        for w in LegWatch.objects.filter(run_id__in={e.run_id for e in executions.values()})
    }
    totals: dict[tuple[int, str], list[OrderIntent]] = {}
    for intent in OrderIntent.objects.filter(
        execution_id__in=list(executions), filled_quantity__gt=0
    ):
        totals.setdefault((intent.execution_id, intent.leg_key), []).append(intent)
    legs = []
    for (execution_id, leg_key), intents in totals.items():
        leg = _open_leg(
            executions[execution_id], leg_key, intents, watches.get((intents[0].run_id, leg_key))
        )
        if leg.quantity:
            legs.append(leg)
    return legs


def _open_leg(
    execution: Execution, leg_key: str, intents: Sequence[OrderIntent], watch: LegWatch | None
) -> OpenLeg:
    entries = [i for i in intents if i.purpose == "ENTRY"]
    bought = sum(traded(i) for i in entries)
    net = sum((1 if i.side == "BUY" else -1) * traded(i) for i in intents)
    return OpenLeg(
        execution_id=execution.public_id,
        contract=intents[0].symbol,
        quantity=net + execution.closed_outside.get(leg_key, 0),
        average_price=_spent(entries) / bought if bought else Decimal(0),
        stop_price=_reachable(watch.stop_price) if watch else None,
        target_price=_reachable(watch.target_price) if watch else None,
        contract_id=intents[0].contract_id,
    )


def _reachable(level: Decimal | None) -> Decimal | None:
    """``level``, or None if it is zero or below: it then never triggers (execution.risk)."""
    return level if level is not None and level > 0 else None


def runs_of_day(day: dt.date) -> QuerySet[Run]:
    """Runs of a trade date with their templates, earliest entry first."""
    return (
        Run.objects.filter(trade_date=day)
        .select_related("template", "version")
        .order_by("entry_at", "id")
    )


def unfinished_runs(before: dt.date) -> QuerySet[Run]:
    """Runs of earlier trade dates with executions that are not over, newest day first.

    Executors work on the runs of the current day only: what is left of another waits for a person.
    """
    live = Execution.objects.exclude(status__in=Execution.TERMINAL).values("run_id")
    return (
        Run.objects.filter(trade_date__lt=before, pk__in=live)
        .select_related("template", "version")
        .order_by("-trade_date", "entry_at", "id")
    )


# -- kill switch -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class EngagedSwitch:
    """A kill switch that is on, and the name of what it covers."""

    switch: KillSwitch
    label: str


def engaged_switches() -> list[EngagedSwitch]:
    """All kill switches that are on, the platform's first (at most 2 queries)."""
    switches = list(KillSwitch.objects.filter(released_at__isnull=True).order_by("scope", "id"))
    names = template_names([s.target_id for s in switches if s.target_id is not None])
    return [
        EngagedSwitch(s, "Platform" if s.target_id is None else names.get(s.target_id, "?"))
        for s in switches
    ]


def template_names(ids: Iterable[int]) -> dict[int, str]:
    """Names of templates by primary key (no query for no ids)."""
    template_ids = set(ids)
    if not template_ids:
        return {}
    return dict(Template.objects.filter(pk__in=template_ids).values_list("pk", "name"))


@dataclass(frozen=True, slots=True)
class KillReach:
    """Executions that a switch would withdraw now, and those that it would leave working."""

    armed: int
    working: int


def kill_reach(template_id: int | None) -> KillReach:
    """The executions that a switch for the platform (None) or a template would reach (1 query)."""
    rows = Execution.objects.exclude(status__in=Execution.TERMINAL)
    if template_id is not None:
        rows = rows.filter(run__template_id=template_id)
    counts = dict(rows.values_list("status").annotate(n=Count("id")).order_by())
    armed = counts.pop(Execution.Status.ARMED, 0)
    return KillReach(armed=armed, working=sum(counts.values()))
