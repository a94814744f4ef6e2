"""Runs of one day, with one subscriber and nobody in it yet, or with many who are armed."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction

from execution import arming
from execution.engine.database import leases, loader
from execution.engine.database.entry_writer import EntryPlan
from execution.models import Execution, Run
from execution.state import LiveExecution
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.inmemory import live_intent
from execution.tests.leaserows import T
from marketplace.models import Contract, Template
from marketplace.tests.factories import load_test_contracts, make_iron_condor
from quantleap.core import clock
from subscriptions.models import Subscription

DAY = dt.date(2026, 9, 8)
ENTRY = clock.at_ist(DAY, dt.time(9, 20))
NOW = ENTRY - dt.timedelta(seconds=60)
MANY = 50
SHARDS = 8
OWNER = "test-owner"


def make_subscriber() -> Subscription:
    """One active subscriber of an iron condor entering at 09:20."""
    load_test_contracts(DAY)
    template = make_iron_condor(
        strategy={"entry_time": dt.time(9, 20), "exit_time": dt.time(15, 20)}
    )
    accounts = make_accounts(1, partner=make_partner(), now=NOW)
    return subscribe_accounts(template, accounts, now=NOW)[0]


def make_run(template: Template, *, hours: int, armed_at: dt.datetime) -> Run:
    """The run of a template's strategy that enters at 09:20 and leaves so many hours later."""
    assert template.current_version is not None
    return Run.objects.create(
        strategy_key=template.strategies.get().key,
        template=template,
        version=template.current_version,
        trade_date=DAY,
        entry_at=ENTRY,
        exit_at=ENTRY + dt.timedelta(hours=hours),
        grace_until=ENTRY + dt.timedelta(seconds=30),
        armed_at=armed_at,
    )


def many_armed() -> list[LiveExecution]:
    """Fifty armed subscribers of one run."""
    load_test_contracts(DAY)
    template = make_iron_condor()
    accounts = make_accounts(MANY, partner=make_partner(), now=T)
    run = make_run(template, hours=5, armed_at=T)
    for subscription in subscribe_accounts(template, accounts, now=T):
        allocation = subscription.allocations.get()
        Execution.objects.create(
            run=run,
            subscription=subscription,
            allocation=allocation,
            account=allocation.account,
            partner_id=subscription.partner_id,
            shard=allocation.account_id % SHARDS,
            lot_multiplier=1,
            armed_at=T,
        )
    held = {run.pk: loader.live_run(run)}
    return loader.load_executions(held, range(SHARDS), statuses=["ARMED"])


def lease_all(owner: str) -> dict[int, int]:
    """Every shard, leased to ``owner``: the tokens."""
    leases.ensure_rows(SHARDS)
    claims = leases.claim(owner=owner, wanted=SHARDS, ttl=3600)
    return {claim.shard: claim.token for claim in claims}


def arm(run: Run) -> None:
    """Insert the run's executions in one transaction."""
    with transaction.atomic():
        arming.add_executions(run, environment="live", now=NOW, shards=8)


def owned() -> dict[int, int]:
    """All shards, leased to us."""
    leases.ensure_rows(8)
    claims = leases.claim(owner=OWNER, wanted=8, ttl=60)
    return {claim.shard: claim.token for claim in claims}


def live_execution(run: Run) -> Any:
    """The armed execution as the executor holds it."""
    held = loader.live_run(run)
    executions = loader.load_executions({run.pk: held}, range(8), statuses=("ARMED",))
    return executions[0]


def planned(run: Run) -> EntryPlan:
    """The armed execution's entry: one order."""
    execution = live_execution(run)
    intent = live_intent(
        execution,
        account_id=execution.account_id,
        shard=execution.shard,
        contract_id=Contract.objects.earliest("id").pk,
    )
    return EntryPlan(execution, [intent])
