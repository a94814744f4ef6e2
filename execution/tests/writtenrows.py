"""One committed execution with one order, as its row and as an executor holds it."""

from __future__ import annotations

from execution.engine.database import loader
from execution.models import Execution, OrderIntent
from execution.state import LiveExecution
from execution.tests.leaserows import T, intent

OWNER = "writer"
CODE = "B" * 12


def stored(run: object, **fields: object) -> OrderIntent:
    """One intent of one committed execution."""
    from execution.models import Run

    assert isinstance(run, Run)
    from subscriptions.models import Subscription

    subscription = Subscription.objects.get()
    allocation = subscription.allocations.get()
    execution = Execution.objects.create(
        run=run,
        subscription=subscription,
        allocation=allocation,
        account=allocation.account,
        partner_id=subscription.partner_id,
        shard=0,
        status="COMMITTED",
        committed_at=T,
        lot_multiplier=1,
        armed_at=T,
    )
    return intent(execution, CODE, **fields)


def live_of(row: OrderIntent) -> LiveExecution:
    """The intent's execution as an executor holds it, read once and never again."""
    execution = row.execution
    held_run = loader.live_run(execution.run)
    executions = loader.load_executions({held_run.id: held_run}, range(8), statuses=("COMMITTED",))
    return executions[0]
