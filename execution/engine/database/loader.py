"""Loads the trading day from Postgres into memory: when a shard is claimed, and at each tick."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db.models import Q

from brokers.base import BrokerInstrument, Side
from execution.alarms import Key
from execution.engine.database.alarm_writer import About
from execution.engine.runtime import facts
from execution.engine.wire.channel_factory import broker_of
from execution.models import Alarm, Execution, LegWatch, OrderIntent, Run, RunDecision
from execution.plan import ResolvedLeg
from execution.price_changes import from_json
from execution.pricing import LAST
from execution.risk import Watch
from execution.state import LiveExecution, LiveIntent, LiveRun
from marketplace import selectors as marketplace
from marketplace.definition import StrategySpec, parse_definition


def open_runs() -> list[Run]:
    """Runs of any day that are not over: what was left open yesterday still needs an executor."""
    return list(
        Run.objects.exclude(status__in=Run.OVER)
        .select_related("version", "template")
        .order_by("entry_at", "id")
    )


def closing_times(runs: Collection[Run]) -> dict[int, dt.datetime]:
    """When the session of each run's day closes (UTC), by run id; days that the calendar lacks are
    left out. Four queries, whatever the number of runs."""
    calendar = marketplace.load_calendar()
    sessions = {
        run.id: calendar.session(run.trade_date, _strategy(run).special_sessions) for run in runs
    }
    return {pk: session.closes for pk, session in sessions.items() if session is not None}


def _strategy(run: Run) -> StrategySpec:
    definition = parse_definition(run.version.definition)
    return next(s for s in definition.strategies if s.key == str(run.strategy_key))


def live_run(run: Run, closes_at: dt.datetime | None = None) -> LiveRun:
    """A run with its pinned strategy; :func:`refresh_decisions` loads decisions and watches.

    ``closes_at`` as returned by :func:`closing_times`.
    """
    strategy = _strategy(run)
    return LiveRun(
        id=run.id,
        public_id=run.public_id,
        template_id=run.template_id,
        template_public_id=run.template.public_id,
        strategy=strategy,
        trade_date=run.trade_date,
        entry_at=run.entry_at,
        exit_at=run.exit_at,
        grace_until=run.grace_until,
        status=run.status,
        closes_at=closes_at,
    )


def resolved_json(legs: Iterable[ResolvedLeg]) -> dict[str, Any]:
    """The payload of an ENTRY decision."""
    return {
        leg.leg_key: {
            "contract_id": leg.contract_id,
            "label": leg.label,
            "tick_size": str(leg.tick_size),
            "lot_size": leg.lot_size,
            "freeze_quantity": leg.freeze_quantity,
            "last": str(leg.reference_price),
            "bid": None if leg.bid is None else str(leg.bid),
            "ask": None if leg.ask is None else str(leg.ask),
            "basis": leg.basis,
            "age": None if leg.age is None else str(leg.age),
        }
        for leg in legs
    }


def resolved_legs(payload: Mapping[str, Any]) -> dict[str, ResolvedLeg]:
    """The legs in an ENTRY decision's payload."""
    return {
        key: ResolvedLeg(
            leg_key=key,
            contract_id=leg["contract_id"],
            label=leg["label"],
            tick_size=Decimal(leg["tick_size"]),
            lot_size=leg["lot_size"],
            freeze_quantity=leg["freeze_quantity"],
            reference_price=Decimal(leg["last"]),
            bid=None if leg["bid"] is None else Decimal(leg["bid"]),
            ask=None if leg["ask"] is None else Decimal(leg["ask"]),
            basis=leg.get("basis", LAST),
            age=None if leg.get("age") is None else Decimal(leg["age"]),
        )
        for key, leg in payload["legs"].items()
    }


def refresh_decisions(runs: Mapping[int, LiveRun]) -> None:
    """Update the decisions and watches of ``runs`` (2 queries)."""
    for decision in RunDecision.objects.filter(run_id__in=list(runs)).order_by("id"):
        run = runs[decision.run_id]
        if decision.kind == "ENTRY":
            if not run.resolved:
                run.resolved = resolved_legs(decision.payload)
        elif decision.kind == "RUN_EXIT":
            run.run_exit = decision.payload["reason"]
        elif decision.kind.startswith("LEG_EXIT:"):
            run.leg_exits[decision.kind.removeprefix("LEG_EXIT:")] = decision.payload["reason"]
    for watch in LegWatch.objects.filter(run_id__in=list(runs)):
        runs[watch.run_id].watches[watch.leg_key] = Watch(
            leg_key=watch.leg_key,
            side=Side(watch.side),
            reference=watch.reference_price,
            stop=watch.stop_price,
            target=watch.target_price,
            triggered=watch.triggered_at is not None,
        )


def load_executions(
    runs: Mapping[int, LiveRun],
    shards: Collection[int],
    *,
    statuses: Collection[str],
    known: Collection[int] = (),
) -> list[LiveExecution]:
    """Executions of ``shards`` in ``statuses``, with their intents, except ``known`` ids."""
    rows = (
        Execution.objects.filter(
            run_id__in=list(runs), shard__in=list(shards), status__in=list(statuses)
        )
        .exclude(id__in=list(known))
        .select_related("subscription__customer", "account")
        .order_by("id")
    )
    executions = {row.id: _live_execution(row, runs[row.run_id]) for row in rows}
    if executions and set(statuses) != {Execution.Status.ARMED}:
        for intent in OrderIntent.objects.filter(execution_id__in=list(executions)).order_by("id"):
            executions[intent.execution_id].intents.append(_live_intent(intent))
        # A settled alarm is not raised again either until its fact is over.
        for alarm in Alarm.objects.filter(
            execution_id__in=list(executions), cleared_at__isnull=True
        ):
            executions[alarm.execution_id].alarms.add((alarm.cause, alarm.leg_key))
    return list(executions.values())


def alarms_about(abouts: Collection[About]) -> list[tuple[About, Key]]:
    """Alarms about these accounts and runs whose facts are not over."""
    by_ids = {(about.run_id, about.account_id): about for about in abouts}
    rows = Alarm.objects.filter(
        Q(run_id__in=[about.run_id for about in abouts if about.run_id])
        | Q(account_id__in=[about.account_id for about in abouts if about.account_id]),
        cleared_at__isnull=True,
    )
    return [
        (by_ids[row.run_id, row.account_id], (row.cause, row.leg_key))
        for row in rows
        if (row.run_id, row.account_id) in by_ids
    ]


def armed_since(run_id: int, shards: Collection[int]) -> dict[int, dt.datetime]:
    """Id -> armed_at of the ARMED executions of ``shards`` in a run: a cheap query."""
    rows = Execution.objects.filter(
        run_id=run_id, shard__in=list(shards), status=Execution.Status.ARMED
    )
    return dict(rows.values_list("id", "armed_at"))


def _live_execution(row: Execution, run: LiveRun) -> LiveExecution:
    return LiveExecution(
        id=row.id,
        public_id=row.public_id,
        run=run,
        partner_id=row.partner_id,
        environment=row.environment,
        subscription_id=row.subscription_id,
        subscription_public_id=row.subscription.public_id,
        customer_email=row.subscription.customer.email,
        customer_external_id=row.subscription.customer.external_user_id,
        allocation_id=row.allocation_id,
        account_id=row.account_id,
        broker=broker_of(row.environment, row.account.broker),
        client_id=row.account.client_id,
        shard=row.shard,
        status=row.status,
        lot_multiplier=row.lot_multiplier,
        priority=row.priority,
        max_lots_per_order=row.max_lots_per_order,
        armed_at=row.armed_at,
        exit_reason=row.exit_reason,
        cause=row.cause,
        message=row.message,
        closed_outside=dict(row.closed_outside),
    )


def _live_intent(row: OrderIntent) -> LiveIntent:
    loaded = _read_intent(row)
    loaded.logged = facts.state_of(loaded)
    return loaded


def _read_intent(row: OrderIntent) -> LiveIntent:
    return LiveIntent(
        code=row.code,
        tag=row.tag,
        execution_id=row.execution_id,
        account_id=row.account_id,
        shard=row.shard,
        leg_key=row.leg_key,
        leg_index=row.leg_index,
        group=row.group,
        slice=row.slice,
        purpose=row.purpose,
        attempt_group=row.attempt_group,
        contract_id=row.contract_id,
        # exchange and token are looked up again when the order is built; the symbol is enough to
        # recognise it in the book
        instrument=BrokerInstrument("", row.symbol, ""),
        side=Side(row.side),
        quantity=row.quantity,
        price=row.price,
        reference_price=row.reference_price,
        due_at=row.due_at,
        planned_at=row.planned_at,
        reason=row.reason,
        state=row.state,
        sends=row.sends,
        broker_order_id=row.broker_order_id,
        filled_quantity=row.filled_quantity,
        average_price=row.average_price,
        surplus_quantity=row.surplus_quantity,
        surplus_price=row.surplus_price,
        surplus_orders=row.surplus_orders,
        price_source=row.price_source,
        price_age=row.price_age,
        changes=from_json(row.changes),
        cause=row.cause,
        message=row.message,
        sent_at=row.sent_at,
        answered_at=row.answered_at,
        final_at=row.final_at,
    )


def requested_exits(execution_ids: Collection[int]) -> dict[int, str]:
    """Executions among ``execution_ids`` whose exit was requested (id -> reason)."""
    rows = Execution.objects.filter(
        id__in=list(execution_ids), exit_requested_at__isnull=False
    ).values_list("id", "exit_reason")
    return dict(rows)


def unfinished_codes(shards: Collection[int]) -> set[str]:
    """Codes of all unfinished intents of ``shards`` (index intent_live_idx)."""
    return set(
        OrderIntent.objects.filter(shard__in=list(shards))
        .exclude(state__in=OrderIntent.FINAL)
        .values_list("code", flat=True)
    )


def intents_by_code(codes: Collection[str]) -> list[LiveIntent]:
    """The intents with these codes."""
    return [_live_intent(row) for row in OrderIntent.objects.filter(code__in=list(codes))]


def statuses_of(execution_ids: Collection[int]) -> dict[int, str]:
    """The status of executions by id."""
    rows = Execution.objects.filter(id__in=list(execution_ids)).values_list("id", "status")
    return dict(rows)
