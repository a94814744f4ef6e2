"""Rows that a shard's owner finds or leaves: executions that traded, orders."""

from __future__ import annotations

import datetime as dt
from typing import Any

from execution.models import Execution, OrderIntent, Run
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from marketplace.models import Contract
from marketplace.tests.factories import load_test_contracts, make_iron_condor
from quantleap.core import clock

DAY = dt.date(2026, 9, 8)
T = clock.at_ist(DAY, dt.time(9, 20))


def seconds(count: float) -> dt.timedelta:
    """Short for timedelta(seconds=…)."""
    return dt.timedelta(seconds=count)


def intent(execution: Execution, code: str, **fields: Any) -> OrderIntent:
    """One SENDING row of an execution."""
    contract = Contract.objects.first()
    assert contract is not None
    values: dict[str, Any] = {
        "code": code,
        "tag": f"Q{code}1",
        "run": execution.run,
        "execution": execution,
        "allocation": execution.allocation,
        "account": execution.account,
        "partner_id": execution.partner_id,
        "shard": execution.shard,
        "leg_key": code,
        "leg_index": 0,
        "group": 0,
        "slice": 0,
        "purpose": "ENTRY",
        "contract": contract,
        "symbol": "X",
        "side": "BUY",
        "quantity": 65,
        "price": 10,
        "reference_price": 10,
        "state": "SENDING",
        "sends": 1,
        "due_at": T,
        "planned_at": T,
    }
    return OrderIntent.objects.create(**values | fields)


def traded(shard: int) -> Execution:
    """An execution of ``shard`` that was committed for T."""
    load_test_contracts(DAY)
    template = make_iron_condor()
    account = make_accounts(1, partner=make_partner(), now=T)[0]
    subscription = subscribe_accounts(template, [account], now=T)[0]
    assert template.current_version is not None
    run = Run.objects.create(
        strategy_key=template.strategies.get().key,
        template=template,
        version=template.current_version,
        trade_date=DAY,
        entry_at=T,
        exit_at=T + seconds(3600),
        grace_until=T + seconds(30),
        armed_at=T,
    )
    execution: Execution = Execution.objects.create(
        run=run,
        subscription=subscription,
        allocation=subscription.allocations.get(),
        account=account,
        partner_id=account.partner_id,
        shard=shard,
        status="COMMITTED",
        committed_at=T,
        lot_multiplier=1,
        armed_at=T,
    )
    return execution
