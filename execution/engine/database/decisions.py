"""Decisions taken once for all subscribers of a run: legs at the entry, triggers, the end.

The first executor to insert the row decides; the others read it (docs/adr/0021).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.db import connection, transaction

from brokers.base import Side
from execution import lifecycle
from execution.descriptions import NotPriced
from execution.engine.database import loader
from execution.hedges import standing_hedges
from execution.models import Execution, LegWatch, OrderIntent, Run, RunDecision
from execution.plan import ResolvedLeg
from execution.pricing import Mark
from execution.risk import Watch, move_to_cost, stop_level, target_level
from execution.state import LiveRun
from marketplace.definition import LegSpec
from quantleap.core.inserts import insert_missing

NOTIFY: Final = "quantleap_decision"


class Missed(Exception):
    """The decision is that nobody enters. ``cause`` is for everybody, ``message`` for staff."""

    def __init__(self, cause: NotPriced, message: str) -> None:
        super().__init__(message)
        self.cause: NotPriced = cause
        self.message = message


def decided_legs(run: LiveRun) -> dict[str, ResolvedLeg] | None:
    """The legs of the run's stored ENTRY decision; None while there is none.

    Raises Missed if the decision is to miss the run.
    """
    standing = RunDecision.objects.filter(run_id=run.id, kind="ENTRY").first()
    return None if standing is None else _standing(standing)


def decide_entry(
    run: LiveRun, resolved: Mapping[str, ResolvedLeg], *, owner: str, now: dt.datetime
) -> dict[str, ResolvedLeg]:
    """The legs of the run's ENTRY decision: ``resolved`` if we are first, else the stored ones.

    Raises Missed if the stored decision is to miss the run.
    """
    payload = {"legs": loader.resolved_json(resolved.values())}
    with transaction.atomic():
        insert_missing(
            [
                RunDecision(
                    run_id=run.id,
                    kind="ENTRY",
                    payload=payload,
                    decided_at=now,
                    decided_by=owner,
                )
            ],
            unique=("run", "kind"),
        )
        insert_missing(
            [_watch(run, leg, resolved[leg.key]) for leg in run.strategy.legs],
            unique=("run", "leg_key"),
        )
    return _standing(RunDecision.objects.get(run_id=run.id, kind="ENTRY"))


def decide_missed(
    run: LiveRun, cause: NotPriced, message: str, *, owner: str, now: dt.datetime
) -> dict[str, ResolvedLeg]:
    """Decide that nobody enters, because of ``cause``, unless another executor decided first.

    Returns the legs that the other one decided; otherwise raises Missed.
    """
    insert_missing(
        [
            RunDecision(
                run_id=run.id,
                kind="ENTRY",
                payload={"legs": {}, "missed": cause, "message": message},
                decided_at=now,
                decided_by=owner,
            )
        ],
        unique=("run", "kind"),
    )
    return _standing(RunDecision.objects.get(run_id=run.id, kind="ENTRY"))


def _standing(decision: RunDecision) -> dict[str, ResolvedLeg]:
    missed = decision.payload.get("missed")
    if missed:
        raise Missed(missed, decision.payload.get("message", ""))
    return loader.resolved_legs(decision.payload)


def _watch(run: LiveRun, leg: LegSpec, resolved: ResolvedLeg) -> LegWatch:
    side, reference = Side(leg.side), resolved.reference_price
    return LegWatch(
        run_id=run.id,
        leg_key=leg.key,
        contract_id=resolved.contract_id,
        side=leg.side,
        reference_price=reference,
        stop_price=stop_level(side, reference, leg.stop, resolved.tick_size),
        target_price=target_level(side, reference, leg.target, resolved.tick_size),
    )


def decide_trigger(
    run: LiveRun,
    watch: Watch,
    *,
    kind: str,
    worth: Mark,
    source: str,
    owner: str,
    now: dt.datetime,
) -> bool:
    """Decide once that a stop or target was hit, and move the other stops to cost with it.

    True if this call decided, False if it had been decided already.
    """
    complete = run.strategy.square_off == "COMPLETE"
    decision = "RUN_EXIT" if complete else f"LEG_EXIT:{watch.leg_key}"
    with transaction.atomic():
        inserted = insert_missing(
            [
                RunDecision(
                    run_id=run.id,
                    kind=decision,
                    payload={
                        "reason": kind,
                        "leg": watch.leg_key,
                        "price": str(worth.price),
                        "basis": worth.basis,
                        "age": str(round((now - worth.at).total_seconds(), 3)),
                        "level": str(watch.stop if kind == "STOP" else watch.target),
                        "source": source,
                    },
                    decided_at=now,
                    decided_by=owner,
                )
            ],
            unique=("run", "kind"),
        )
        # The row count of this update is the lock: a second decider changes nothing.
        won = LegWatch.objects.filter(
            run_id=run.id, leg_key=watch.leg_key, triggered_at__isnull=True
        ).update(triggered_at=now, trigger=kind, trigger_price=worth.price)
        if won and kind == "STOP" and not complete:
            _move_stops(run, watch, now)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY, str(run.id)])
    return bool(inserted and won)


def _move_stops(run: LiveRun, stopped: Watch, now: dt.datetime) -> None:
    triggered = {key for key, watch in run.watches.items() if watch.triggered} | {stopped.leg_key}
    hedges = standing_hedges(run.strategy.legs, triggered)
    moved = move_to_cost(run.watches.values(), stopped.leg_key, run.strategy.move_to_cost, hedges)
    for leg_key, price in moved.items():
        LegWatch.objects.filter(run_id=run.id, leg_key=leg_key, triggered_at__isnull=True).update(
            stop_price=price, moved_to_cost_at=now
        )


def close_finished_run(run_id: int, now: dt.datetime) -> str:
    """Advance a run's status with its executions: ARMED -> ENTERED -> CLOSED, or MISSED.

    Conditional updates; any executor may call it at any time. Returns the new status, '' if none.
    """
    executions = Execution.objects.filter(run_id=run_id)
    if executions.filter(status=lifecycle.ARMED).exists():
        return ""
    if executions.filter(status__in=Execution.WORKING).exists():
        changed = Run.objects.filter(pk=run_id, status=lifecycle.ARMED, grace_until__lt=now)
        return lifecycle.ENTERED if changed.update(status=lifecycle.ENTERED) else ""
    traded = OrderIntent.objects.filter(run_id=run_id, sends__gt=0).exists()
    status = lifecycle.CLOSED if traded or not executions.exists() else lifecycle.MISSED
    over = Run.objects.filter(pk=run_id, grace_until__lt=now).exclude(status__in=Run.OVER)
    return status if over.update(status=status, closed_at=now) else ""
