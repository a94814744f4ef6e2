"""Entries that overlap with something else of their account: a load, or a dead session."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from brokers.models import BrokerAccount
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.memory.actors import Actors
from execution.engine.memory.trading_day import TradingDay
from execution.engine.monitors.recovery import Recovery
from execution.models import Alarm, Execution, OrderIntent
from execution.tests.factories import subscribe_accounts
from execution.tests.inmemory import live_execution, live_intent
from execution.tests.installation import (
    Installation,
    assert_filled,
    open_at_brokers,
    runs_closed,
    wait_until,
)
from execution.tests.rows import decide, enter, make_execution, make_run
from marketplace.models import Contract
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock
from subscriptions.models import Subscription

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


# -- a load while an entry commits ---------------------------------------------------------------
def leave_unfinished(installation: Installation, account: BrokerAccount) -> None:
    """An unfinished order of an execution that is over: nobody holds it, everybody looks for it."""
    template = make_short_straddle(name="Over")
    subscribe_accounts(template, [account])
    run = make_run(
        template, clock.ist_date(installation.now) - dt.timedelta(days=1), status="CLOSED"
    )
    contracts = [
        *Contract.objects.filter(underlying__symbol="NIFTY", option_type="CE")[:1],
        *Contract.objects.filter(underlying__symbol="NIFTY", option_type="PE")[:1],
    ]
    decide(run, contracts)
    subscription = Subscription.objects.get(template=template)
    execution = make_execution(run, subscription, "CLOSED")
    enter(execution, contracts)
    OrderIntent.objects.filter(execution=execution).update(
        state="ACCEPTED", filled_quantity=0, average_price=0, shard=execution.shard
    )


@pytest.fixture
def load_at_the_commit(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Recovery looks after the entry's rows are committed, before the entry has heard of it."""
    grant, tick = EntryFlows._grant, Recovery.tick
    recoveries: list[Recovery] = []
    looked: list[int] = []

    async def tick_noted(recovery: Recovery) -> None:
        recoveries[:] = [recovery]
        await tick(recovery)

    async def granted(desk: EntryFlows, plans: list[EntryPlan]) -> frozenset[int]:
        execution_ids = await grant(desk, plans)
        await recoveries[0]._compare()
        looked.append(len(execution_ids))
        return execution_ids

    monkeypatch.setattr(Recovery, "tick", tick_noted)
    monkeypatch.setattr(EntryFlows, "_grant", granted)
    return looked


def test_a_load_while_an_entry_committed_sent_orders_twice(
    installation: Installation, executor: Callable[[], Any], load_at_the_commit: list[int]
) -> None:
    """Seen: a foreign unfinished row made recovery load again, and 4 of 6 tags were at the broker
    twice; once the orders stayed COMMITTED, filled, and open 73 s past the exit."""
    template = make_short_straddle(strategy=installation.entry_in(12, 8))
    accounts = installation.subscribe(template, 3)
    leave_unfinished(installation, accounts[0])
    executor()
    ours = Execution.objects.filter(run__template=template)
    wait_until(lambda: ours.filter(status="CLOSED").count() == 3, 60)
    assert 3 in load_at_the_commit
    tags = Counter(order["tag"] for order in installation.control.orders())
    assert set(tags.values()) == {1}
    assert_filled(OrderIntent.objects.filter(execution__in=ours))
    assert open_at_brokers(installation.control) == []


@pytest.mark.parametrize("committing", [True, False])
def test_what_is_being_committed_is_adopted_by_nobody_else(committing: bool) -> None:
    """The second case is the control: without the mark a load's copy would be held, and sent."""
    day = TradingDay(Actors())
    committed, loaded = live_execution(), None
    live_intent(committed)
    loaded = live_execution(id=committed.id)
    if committing:
        day.entering.add(committed.id)
    held = day.adopt([loaded])
    day.entering.clear()
    adopted = day.adopt([committed])
    assert (len(held), len(adopted)) == ((0, 1) if committing else (1, 0))
    assert day.executions[committed.id] is (committed if committing else loaded)
    assert day.adopt([live_execution(id=committed.id)]) == [], "nothing held is overwritten"


# -- a session that dies between two entries -------------------------------------------------------
def test_a_dead_session_left_orders_sending_for_ever(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: with two templates a second apart, 12 orders stayed SENDING and 6 executions COMMITTED,
    without a cause or an alarm."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 30)), 3)
    later = make_short_straddle(name="A second later", strategy=installation.entry_in(10, 30))
    subscribe_accounts(later, accounts)
    for account in accounts:
        installation.strike(account, "expired_session")
    executor()
    wait_until(lambda: Execution.objects.filter(status__in=("FAILED", "MISSED")).count() == 6, 60)
    assert installation.control.orders() == []
    assert set(Execution.objects.values_list("cause", flat=True)) == {"SESSION_EXPIRED"}
    left = OrderIntent.objects.exclude(state__in=OrderIntent.FINAL)
    assert not left.exists(), "nothing is on its way for ever"
    assert set(Alarm.objects.values_list("cause", flat=True)) <= {"SESSION_EXPIRED"}
    wait_until(runs_closed, 20)
