"""Live runs, executions and intents in memory, for the pure modules' tests."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

from brokers.base import BookState, BrokerInstrument, Cause, OrderReport, Side
from execution import lifecycle
from execution.plan import ResolvedLeg, plan_entry
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.tags import make_tag, new_code
from marketplace.definition import StrategySpec
from marketplace.tests.factories import TEST_DAY, leg_spec, strategy_spec
from quantleap.core import clock

ENTRY_AT = clock.at_ist(TEST_DAY, dt.time(9, 20))
EXIT_AT = clock.at_ist(TEST_DAY, dt.time(15, 15))
GRACE = dt.timedelta(seconds=30)
TICK = Decimal("0.05")
LOT = 65

_numbers = itertools.count(1)


# -- in memory ----------------------------------------------------------------------------------
def resolved_legs(
    strategy: StrategySpec, *, lot_size: int = LOT, freeze: int = 1800, last: int | str = 100
) -> dict[str, ResolvedLeg]:
    """Every leg resolved to a contract of its own at ``last`` rupees."""
    return {
        leg.key: ResolvedLeg(
            leg_key=leg.key,
            contract_id=number,
            label=leg.key,
            tick_size=TICK,
            lot_size=lot_size,
            freeze_quantity=freeze,
            reference_price=Decimal(last),
            bid=None,
            ask=None,
        )
        for number, leg in enumerate(strategy.legs, start=1)
    }


def live_run(strategy: StrategySpec | None = None, **fields: Any) -> LiveRun:
    """A run of the test day, its legs resolved."""
    spec = strategy or strategy_spec()
    number = next(_numbers)
    values: dict[str, Any] = {
        "id": number,
        "public_id": f"run_{number}",
        "template_id": 1,
        "template_public_id": "bsk_1",
        "strategy": spec,
        "trade_date": TEST_DAY,
        "entry_at": ENTRY_AT,
        "exit_at": EXIT_AT,
        "grace_until": ENTRY_AT + GRACE,
        "status": "ARMED",
        "resolved": resolved_legs(spec),
    }
    return LiveRun(**{**values, **fields})


def live_execution(run: LiveRun | None = None, **fields: Any) -> LiveExecution:
    """A COMMITTED execution without intents."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "id": number,
        "public_id": f"exe_{number}",
        "run": run or live_run(),
        "partner_id": 1,
        "environment": "live",
        "subscription_id": 1,
        "subscription_public_id": "sub_1",
        "customer_email": "asha@example.com",
        "customer_external_id": "",
        "allocation_id": 1,
        "account_id": 1,
        "broker": "zebu",
        "client_id": "AB1234",
        "shard": 0,
        "status": "COMMITTED",
        "lot_multiplier": Decimal(1),
        "priority": 1,
        "max_lots_per_order": None,
        "armed_at": ENTRY_AT - GRACE,
    }
    return LiveExecution(**{**values, **fields})


def live_intent(execution: LiveExecution | None = None, **fields: Any) -> LiveIntent:
    """One intent, PLANNED unless told otherwise; added to ``execution`` when given."""
    code = new_code()
    values: dict[str, Any] = {
        "code": code,
        "tag": make_tag(code, 1),
        "execution_id": execution.id if execution else 1,
        "account_id": 1,
        "shard": 0,
        "leg_key": execution.run.strategy.legs[0].key if execution else "leg-0",
        "leg_index": 0,
        "group": 0,
        "slice": 0,
        "purpose": lifecycle.ENTRY,
        "attempt_group": 0,
        "contract_id": 1,
        "instrument": BrokerInstrument("NFO", "NIFTY", "1"),
        "side": Side.SELL,
        "quantity": LOT,
        "price": Decimal("98.00"),
        "reference_price": Decimal("100.00"),
        "due_at": ENTRY_AT,
        "planned_at": ENTRY_AT,
    }
    intent = LiveIntent(**{**values, **fields})
    if execution is not None:
        execution.intents.append(intent)
    return intent


def committed(
    strategy: StrategySpec,
    *,
    multiplier: Decimal | int = 1,
    max_lots: int | None = None,
    run: LiveRun | None = None,
    **fields: Any,
) -> LiveExecution:
    """An execution as the commit before T leaves it: first group SENDING, the rest PLANNED."""
    run = run or live_run(strategy)
    sized = {"lot_multiplier": Decimal(multiplier), "max_lots_per_order": max_lots}
    execution = live_execution(run, **sized, **fields)
    for order in plan_entry(strategy, run.resolved, Decimal(multiplier), max_lots):
        first = order.group == 0
        live_intent(
            execution,
            leg_key=order.leg_key,
            leg_index=order.leg_index,
            group=order.group,
            slice=order.slice,
            contract_id=order.contract_id,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            reference_price=order.reference_price,
            state=lifecycle.SENDING if first else lifecycle.PLANNED,
            sends=1 if first else 0,
        )
    return execution


def bought() -> LiveExecution:
    """One bought call, filled, its exit due."""
    execution = committed(strategy_spec([leg_spec("BUY", "CE", key="ce")]))
    for intent in execution.intents:
        intent.state, intent.filled_quantity = lifecycle.FILLED, LOT
    execution.status = "EXITING"
    return execution


def report(
    intent: LiveIntent,
    state: BookState = BookState.OPEN,
    filled: int = 0,
    price: Decimal | int = 100,
    cause: Cause | None = None,
    message: str = "",
) -> OrderReport:
    """A row of the broker's book for this intent's newest send."""
    return OrderReport(
        broker_order_id=intent.broker_order_id or f"B{intent.code}",
        tag=intent.tag,
        state=state,
        quantity=intent.quantity,
        filled_quantity=filled,
        average_price=Decimal(price) if filled else Decimal(0),
        side=intent.side,
        cause=cause,
        message=message,
    )
