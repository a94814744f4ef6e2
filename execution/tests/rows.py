"""Rows of a trading day as an executor would have left them: for pages and the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db.models import Count

from execution.models import Alarm, Execution, LegWatch, OrderIntent, Run, RunDecision
from execution.plan import slices
from execution.tags import make_tag, new_code
from marketplace.definition import LegSpec, StrategySpec, leg_label, parse_definition
from marketplace.models import Contract, Template
from marketplace.tests.factories import TEST_DAY
from quantleap.core import clock
from subscriptions.models import Allocation, Subscription

LOT = 65
MS = dt.timedelta(milliseconds=1)


def make_run(template: Template, day: dt.date = TEST_DAY, **fields: Any) -> Run:
    """The run of a template's first strategy on a day."""
    version = template.current_version
    assert version is not None
    strategy = parse_definition(version.definition).strategies[0]
    entry_at = clock.at_ist(day, strategy.entry_time)
    values: dict[str, Any] = {
        "strategy_key": strategy.key,
        "template": template,
        "version": version,
        "trade_date": day,
        "status": Run.Status.ENTERED,
        "entry_at": entry_at,
        "exit_at": clock.at_ist(day, strategy.exit_time),
        "grace_until": entry_at + dt.timedelta(seconds=30),
        "armed_at": entry_at - dt.timedelta(seconds=120),
    }
    return Run.objects.create(**{**values, **fields})


def strategy_of(run: Run) -> StrategySpec:
    """What the run trades."""
    return parse_definition(run.version.definition).strategies[0]


def contracts_for(strategy: StrategySpec, contracts: Sequence[Contract]) -> list[Contract]:
    """A contract of the right type for every leg, each its own."""
    left = list(contracts)
    chosen = []
    for leg in strategy.legs:
        chosen.append(next(c for c in left if c.option_type == leg.option_type))
        left.remove(chosen[-1])
    return chosen


def decide(run: Run, contracts: Sequence[Contract], last: int = 100) -> None:
    """The ENTRY decision and the leg watches."""
    legs = strategy_of(run).legs
    chosen = contracts_for(strategy_of(run), contracts)
    payload = {
        "legs": {
            leg.key: {
                "contract_id": contract.pk,
                "label": leg_label(leg),
                "tick_size": "0.05",
                "lot_size": LOT,
                "freeze_quantity": 1800,
                "last": str(last),
                "bid": str(last - 1),
                "ask": str(last + 1),
            }
            for leg, contract in zip(legs, chosen, strict=True)
        }
    }
    at = run.entry_at - dt.timedelta(seconds=2)
    RunDecision.objects.create(
        run=run, kind="ENTRY", payload=payload, decided_at=at, decided_by="executor-1"
    )
    LegWatch.objects.bulk_create(
        LegWatch(
            run=run,
            leg_key=leg.key,
            contract=contract,
            side=leg.side,
            reference_price=last,
            stop_price=Decimal(125) if leg.side == "SELL" else Decimal(75),
        )
        for leg, contract in zip(legs, chosen, strict=True)
    )


def make_execution(
    run: Run,
    subscription: Subscription,
    status: str = Execution.Status.OPEN,
    **fields: Any,
) -> Execution:
    """One allocation's part, without orders."""
    allocation = Allocation.objects.filter(subscription=subscription).order_by("pk")[0]
    values: dict[str, Any] = {
        "partner_id": subscription.partner_id,
        "environment": subscription.environment,
        "run": run,
        "subscription": subscription,
        "allocation": allocation,
        "account_id": allocation.account_id,
        "shard": allocation.account_id % 8,
        "status": status,
        "lot_multiplier": allocation.lot_multiplier,
        "armed_at": run.armed_at,
        "committed_at": run.entry_at - dt.timedelta(seconds=1),
    }
    execution: Execution = Execution.objects.create(**{**values, **fields})
    return execution


def make_alarm(execution: Execution, cause: str = "UNRESOLVED", **fields: Any) -> Alarm:
    """An open alarm about an execution, a quarter of an hour old."""
    at = clock.now() - dt.timedelta(minutes=15)
    return Alarm.objects.create(execution=execution, cause=cause, raised_at=at, **fields)


def make_order(
    execution: Execution,
    leg: LegSpec,
    contract: Contract,
    state: str = OrderIntent.State.FILLED,
    *,
    late_ms: int = 12,
    **fields: Any,
) -> OrderIntent:
    """One order, an ENTRY at the run's second unless told otherwise; saved."""
    code, entry_at = new_code(), execution.run.entry_at
    quantity = fields.pop("quantity", LOT * leg.lots)
    sends = fields.pop("sends", 0 if state in ("PLANNED", "MISSED") else 1)
    sent = entry_at + late_ms * MS if sends else None
    filled = quantity if state == OrderIntent.State.FILLED else 0
    final = state in OrderIntent.FINAL
    values: dict[str, Any] = {
        "partner_id": execution.partner_id,
        "environment": execution.environment,
        "code": code,
        "tag": make_tag(code, max(1, sends)),
        "run": execution.run,
        "execution": execution,
        "allocation": execution.allocation,
        "account": execution.account,
        "shard": execution.shard,
        "leg_key": leg.key,
        "leg_index": 0,
        "group": 0,
        "slice": 0,
        "purpose": OrderIntent.Purpose.ENTRY,
        "contract": contract,
        "symbol": f"NIFTY{contract.expiry:%y%b}{contract.strike:.0f}{contract.option_type}".upper(),
        "side": leg.side,
        "quantity": quantity,
        "price": Decimal("97.00") if leg.side == "SELL" else Decimal("103.00"),
        "reference_price": Decimal("100.00"),
        "state": state,
        "sends": sends,
        "broker_order_id": f"26{code}" if sends and state != "REJECTED" else "",
        "filled_quantity": filled,
        "average_price": Decimal("100.50") if filled else Decimal(0),
        "due_at": entry_at,
        "planned_at": entry_at - dt.timedelta(seconds=1),
        "sent_at": sent,
        "answered_at": sent + 40 * MS if sent and state not in ("SENDING", "UNKNOWN") else None,
        "final_at": sent + 900 * MS if sent and final else None,
    }
    return OrderIntent.objects.create(**{**values, **fields})


def enter(
    execution: Execution,
    contracts: Sequence[Contract],
    state: str = OrderIntent.State.FILLED,
    *,
    late_ms: int = 12,
    freeze: int = 1800,
    **fields: Any,
) -> list[OrderIntent]:
    """All entry orders of an execution in one state."""
    strategy = strategy_of(execution.run)
    orders = []
    chosen = contracts_for(strategy, contracts)
    for index, (leg, contract) in enumerate(zip(strategy.legs, chosen, strict=True)):
        units = int(leg.lots * execution.lot_multiplier) * LOT
        for number, piece in enumerate(slices(units, LOT, freeze, None)):
            orders.append(
                make_order(
                    execution,
                    leg,
                    contract,
                    state,
                    late_ms=late_ms + 3 * index,
                    leg_index=index,
                    slice=number,
                    quantity=piece,
                    **fields,
                )
            )
    return orders


def leave(execution: Execution, entry: OrderIntent, price: int = 80, **fields: Any) -> OrderIntent:
    """The exit of one entry order, filled unless told otherwise."""
    tries = execution.intents.filter(leg_key=entry.leg_key).aggregate(n=Count("id"))["n"]
    code, at = new_code(), execution.run.exit_at
    values: dict[str, Any] = {
        "code": code,
        "tag": make_tag(code, 1),
        "purpose": OrderIntent.Purpose.EXIT,
        "attempt_group": tries,
        "reason": "EXIT_TIME",
        "side": "BUY" if entry.side == "SELL" else "SELL",
        "state": OrderIntent.State.FILLED,
        "sends": 1,
        "filled_quantity": entry.quantity,
        "average_price": Decimal(price),
        "cause": "",
        "message": "",
        "due_at": at,
        "planned_at": at,
        "sent_at": at + 20 * MS,
        "answered_at": at + 60 * MS,
        "final_at": at + 500 * MS,
        "broker_order_id": f"27{code}",
    }
    copied = {
        field.attname: getattr(entry, field.attname)
        for field in OrderIntent._meta.concrete_fields
        if not field.primary_key
    }
    return OrderIntent.objects.create(**{**copied, **values, **fields})
