"""Whoever takes an account over goes on with its pace: its broker knows of no takeover."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings

from brokers.models import BrokerAccount
from brokers.pace import Call, lane
from brokers.real_account import RealAccount
from brokers.tests.factories import make_contract
from execution.engine.database.past_calls import Past, past_calls
from execution.engine.executor import Executor
from execution.models import OrderIntent, Run
from execution.pacing import ENTRIES, EXITS
from execution.price_changes import Change, to_json
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.inmemory import live_execution
from execution.tests.rows import make_execution, make_order, make_run, strategy_of
from execution.timing import from_settings
from marketplace.models import Contract
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock
from subscriptions.models import Subscription

SECOND, DAY = dt.timedelta(seconds=1), dt.timedelta(days=1)
ENTRY, EXIT = lane(Call.PLACE, ENTRIES), lane(Call.PLACE, EXITS)


class Orders:
    """One account's orders of today; nothing of them is held in memory."""

    def __init__(self, broker: str, slug: str = "zebu") -> None:
        (self.account,) = make_accounts(1, partner=make_partner(slug), brokers=(broker,))
        log_in([self.account], lambda broker, client: "token", clock.now())
        template = make_short_straddle(name=f"{slug} {broker}")
        (subscription,) = subscribe_accounts(template, [self.account])
        self.run: Run = make_run(template, clock.ist_date(clock.now()))
        self.execution = make_execution(self.run, subscription)
        self.count = 0

    def left(self, *at: dt.datetime, state: str = "FILLED", **fields: Any) -> list[OrderIntent]:
        """Orders of these moments."""
        (leg, _) = strategy_of(self.run).legs
        contract = Contract.objects.first() or make_contract()
        orders = []
        for moment in at:
            self.count += 1
            times = {"due_at": moment, "sent_at": moment, "answered_at": moment, "final_at": None}
            place = {"slice": self.count, "planned_at": moment}
            orders.append(
                make_order(self.execution, leg, contract, state, **{**place, **times, **fields})
            )
        return orders

    @property
    def real(self) -> RealAccount:
        """The account at the broker."""
        return RealAccount("live", self.account.broker, self.account.client_id)


def free_from(executor: Executor, account: BrokerAccount, of_lane: int) -> float:
    """From when on (monotonic seconds) an order of this account may leave."""
    execution = live_execution(
        account_id=account.pk, broker=account.broker, client_id=account.client_id, status="OPEN"
    )
    asyncio.run(executor.accounts.open_for([execution]))
    return executor.channels.by_account[account.pk].pacer.free_from(of_lane)


@pytest.fixture
def executor(settings: LazySettings) -> Any:
    """One that holds nothing yet."""
    api = "http://127.0.0.1:9"
    both = {"api": api, "login": api, "instruments": api}
    settings.QUANTLEAP_BROKERS = {"zerodha": both, "zebu": both}
    idle_executor = Executor(from_settings(), name="next")
    yield idle_executor
    for pool in (idle_executor.db, idle_executor.beats, idle_executor.feeds):
        pool.close()


# -- in an executor --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("broker", "count", "ago", "of_lane", "seconds"),
    [
        ("zerodha", 8, 0, ENTRY, 1),
        ("zerodha", 9, 0, EXIT, 1),
        ("zebu", 107, 30, ENTRY, 60),
        ("zebu", 119, 30, EXIT, 60),
    ],
    ids=["a second of Kite", "an exit at Kite", "a minute of Noren", "an exit at Noren"],
)
@pytest.mark.django_db(transaction=True)
def test_a_takeover_sent_twice_what_the_broker_takes(
    executor: Executor, broker: str, count: int, ago: int, of_lane: int, seconds: int
) -> None:
    """Seen: an executor that took a shard over began with empty windows, so that both sent a full
    second's calls within one second."""
    orders = Orders(broker)
    mono, now = clock.monotonic(), clock.now()
    orders.left(*[now - ago * SECOND] * count)
    assert free_from(executor, orders.account, of_lane) >= mono - ago + seconds


@pytest.mark.django_db(transaction=True)
def test_one_order_fewer_leaves_at_once(executor: Executor) -> None:
    """The control: nothing waits that the broker would take."""
    orders = Orders("zebu")
    orders.left(*[clock.now() - 30 * SECOND] * 118)
    before = clock.monotonic()
    assert free_from(executor, orders.account, EXIT) <= before


@pytest.mark.django_db(transaction=True)
def test_a_shard_comes_back_with_what_others_have_sent(executor: Executor) -> None:
    orders = Orders("zebu")
    assert free_from(executor, orders.account, EXIT) == 0.0
    executor.lease_keeper.lose(0)
    mono, now = clock.monotonic(), clock.now()
    orders.left(*[now - 30 * SECOND] * 119)
    assert free_from(executor, orders.account, EXIT) >= mono - 30 + 60


@pytest.mark.django_db(transaction=True)
def test_calls_are_counted_once_however_often_a_session_changes(executor: Executor) -> None:
    orders = Orders("zebu")
    orders.left(*[clock.now() - 30 * SECOND] * 60)
    before = clock.monotonic()
    for token in ("second", "third"):
        assert free_from(executor, orders.account, EXIT) <= before
        executor.channels.forget(orders.account.pk)
        log_in([orders.account], lambda *_: token, clock.now())  # noqa: B023 - called at once
    assert free_from(executor, orders.account, EXIT) <= before


# -- in the database -------------------------------------------------------------------------
NOW = clock.now()


def known_calls(*orders: Orders) -> list[list[Past]]:
    """What is known to have left, without what has not."""
    past = past_calls([account.real for account in orders], NOW)
    return [[call for call in past.get(account.real, ()) if call.count] for account in orders]


def set_run(orders: Orders, entry_at: dt.datetime, exit_at: dt.datetime) -> None:
    """It is over, and these were its times."""
    times = {"entry_at": entry_at, "grace_until": entry_at, "exit_at": exit_at}
    Run.objects.filter(pk=orders.run.pk).update(status="CLOSED", **times)


@pytest.mark.django_db
def test_what_is_older_than_a_minute_counts_for_the_day() -> None:
    orders = Orders("zerodha")
    ago = [NOW - seconds * SECOND for seconds in (3, 59, 61, 3600)]
    orders.left(*ago)
    set_run(orders, NOW - 3601 * SECOND, NOW)
    assert known_calls(orders) == [
        [Past(60.0, Call.PLACE, 2), Past(59.0, Call.PLACE), Past(3.0, Call.PLACE)]
    ]
    set_run(orders, NOW - 2 * DAY, NOW - DAY - SECOND)
    assert known_calls(orders) == [[]]


UNHEARD = {"sent_at": None, "answered_at": None}


@pytest.mark.parametrize(
    ("state", "fields", "calls"),
    [
        ("PLANNED", UNHEARD, []),
        ("MISSED", {**UNHEARD, "sends": 1}, []),
        ("UNKNOWN", UNHEARD, [(0.0, 1)]),
        ("UNKNOWN", {"answered_at": None}, [(40.0, 1)]),
        ("UNKNOWN", {"sends": 2, "due_at": NOW - SECOND}, [(0.0, 2)]),
        ("ACCEPTED", {"sends": 2, "answered_at": NOW - 5 * SECOND}, [(5.0, 2)]),
        ("FILLED", {**UNHEARD, "final_at": NOW - 7 * SECOND}, [(7.0, 1)]),
        ("REJECTED", {"sent_at": NOW + SECOND}, [(0.0, 1)]),
    ],
    ids=[
        "never sent",
        "kept back",
        "lost with its executor",
        "unanswered",
        "sent again and unanswered",
        "sent again",
        "heard of by the book alone",
        "by a clock that is ahead",
    ],
)
@pytest.mark.django_db
def test_an_order_counts_when_it_may_last_have_left(
    state: str, fields: dict[str, Any], calls: Sequence[tuple[float, int]]
) -> None:
    """An order counts at the last moment at which it may have left. Granted 40 s ago, where nothing
    else is stated."""
    orders = Orders("zebu")
    orders.left(NOW - 40 * SECOND, state=state, **fields)
    assert known_calls(orders) == [[Past(age, Call.PLACE, count) for age, count in calls]]


@pytest.mark.django_db
def test_changes_and_cancels_count_too() -> None:
    orders = Orders("zebu")
    taken = Change(Decimal(90), Decimal(91), NOW - 9 * SECOND, answered_at=NOW - 8 * SECOND)
    kept = dataclasses.replace(taken, state="KEPT")
    on_its_way = dataclasses.replace(taken, answered_at=None)
    changes = to_json([taken, kept, on_its_way])
    orders.left(NOW - 3600 * SECOND, state="ACCEPTED", changes=changes)
    orders.left(NOW - 30 * SECOND, state="CANCELLED", final_at=NOW - 20 * SECOND)
    assert known_calls(orders) == [
        [
            Past(3600.0, Call.PLACE),
            Past(30.0, Call.PLACE),
            Past(20.0, Call.CHANGE),
            Past(8.0, Call.CHANGE),
            Past(0.0, Call.CHANGE),
        ]
    ]


@pytest.mark.django_db
def test_all_rows_of_a_real_account_count_and_nobody_elses() -> None:
    here, there = Orders("zebu", "here"), Orders("zebu", "there")
    other = Orders("zerodha", "other")
    assert here.real == there.real
    assert Subscription.objects.values("customer").distinct().count() == 3
    here.left(NOW - 2 * SECOND)
    there.left(NOW - SECOND)
    other.left(NOW)
    assert past_calls([here.real], NOW) == {
        here.real: [
            Past(60.0, Call.PLACE, 0),
            Past(2.0, Call.PLACE),
            Past(1.0, Call.PLACE),
        ]
    }
