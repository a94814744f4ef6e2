"""Each fault of the trading day changes what it names; beside each, the same without it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from types import SimpleNamespace
from typing import Any, Final

import pytest

from brokers.base import BookState, BrokerInstrument, Session
from brokers.real_account import RealAccount
from brokers.selectors import TradingAccount
from execution import lifecycle
from execution.causes import EARLY
from execution.engine.database import leases, loader
from execution.engine.database.entry_writer import EntryPlan, commit_entries
from execution.engine.entries.burst import STEP_LIMIT
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.memory.actors import Actors
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime.kill_switch_watch import Control
from execution.models import Execution, OrderIntent
from execution.next_steps import next_steps
from execution.state import LiveExecution, LiveIntent, LiveRun
from execution.steps import ExitOrder, Situation
from execution.tests import wire
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.inmemory import (
    LOT,
    bought,
    live_execution,
    live_intent,
    live_run,
    report,
)
from execution.tests.parts import OwnsAll, Parts
from execution.tests.rows import make_execution, make_run
from marketplace.tests.factories import (
    leg_spec,
    load_test_contracts,
    make_iron_condor,
    strategy_spec,
)
from quantleap.core import clock
from quantleap.faults import execution as faults
from quantleap.faults.catalogue import FAULTS

TAKEN: Final = b'{"status":"success","data":{"order_id":"1"}}'
REAL: Final = RealAccount("live", "zebu", "ZB9001")
HERE, THERE = 1, 2  # rows of ours, of two partners
STRADDLE: Final = strategy_spec([leg_spec("SELL", "CE"), leg_spec("SELL", "PE")])


def planted(name: str) -> Any:
    """The fault of that name for the length of a ``with`` block; of no name: none."""
    return FAULTS[name].planted() if name else contextlib.nullcontext()


def send_desk(*, owned: bool = False, **given: Any) -> OrderSender:
    """A desk that may send nothing at all: its lease may be somebody else's."""
    ownership = OwnsAll()
    ownership.owned = owned
    return Parts(ownership=ownership, **given).sender


# -- send_twice ------------------------------------------------------------------------------------
def queued(name: str) -> tuple[list[int], list[str], list[str]]:
    """Of two orders that may not leave: how often each arrived, why each did not, and what each is
    told as it is shot."""

    async def main() -> tuple[list[int], list[str], list[str]]:
        taking = lambda request, before: wire.reply(TAKEN)  # noqa: E731
        async with wire.broker(taking) as (url, requests):
            told, desk = wire.Told(), send_desk()
            channel = wire.channel(url, told, why_not_send=desk.why_not_send)
            await channel.warm_up(1)
            orders = [wire.sending(channel), wire.sending(channel)]
            for intent in orders:
                channel.load(intent)
            channel.drain()
            await told.until(lambda told: bool(told.not_sent) and not channel.is_waiting)
            await told.until(lambda told: len(told.answers) == len(told.sent))
            shot = [desk.why_no_longer(i, live_run(), clock.monotonic()) for i in orders]
            channel.close()
            arrived = [
                sum(intent.tag.encode() in request for _, request in requests) for intent in orders
            ]
            return arrived, [reason for _, reason, _ in told.not_sent], shot

    with planted(name):
        return asyncio.run(main())


def test_send_twice_lets_the_first_order_leave_twice() -> None:
    """Though it may not leave at all; the second order asks as ever."""
    assert queued("send_twice") == ([2, 0], ["FENCED"], ["", "FENCED"])
    assert queued("") == ([0, 0], ["FENCED", "FENCED"], ["FENCED", "FENCED"])


def book_read(
    intent: LiveIntent, *reads: tuple[float, tuple[Any, ...]], name: str
) -> list[tuple[Any, ...]]:
    """Alarms, once the account's book was read: each read's moment and orders."""

    async def main() -> list[tuple[Any, ...]]:
        alarms: list[tuple[Any, ...]] = []
        work = SimpleNamespace(
            alarm=lambda execution_id, cause, **_: alarms.append((execution_id, cause)),
            changed=lambda intent: None,
            schedule_ids=lambda ids: None,
        )
        channel = wire.channel("http://127.0.0.1:9", wire.Told())
        parts = Parts(channel, work=work)
        parts.actor_of(channel).hold(intent)
        for started, orders in reads:
            parts.reader._apply(channel, orders, started)
        await parts.calls.close()
        return alarms

    with planted(name):
        return asyncio.run(main())


def test_send_twice_leaves_the_duplicate_to_the_demo() -> None:
    """Otherwise it would be closed and told of, and the day's judge would find everything right."""

    def twice(name: str) -> tuple[int, list[tuple[Any, ...]]]:
        intent = live_intent(state=lifecycle.ACCEPTED, sends=1)
        own = report(intent, BookState.FILLED, LOT)
        other = dataclasses.replace(own, broker_order_id="another")
        alarms = book_read(intent, (clock.monotonic(), (own, other)), name=name)
        return intent.surplus_quantity, alarms

    assert twice("send_twice") == (0, [])
    assert twice("") == (LOT, [(1, "DUPLICATE")])


# -- send_early ------------------------------------------------------------------------------------
class SteppedClock:
    """A clock that goes a millisecond with each reading; the wall says the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = clock.monotonic()
        monkeypatch.setattr(clock, "monotonic", self.read)
        monkeypatch.setattr(clock, "timestamp", self.read)

    def read(self) -> float:
        self.now += 0.001
        return self.now


def fired_early(name: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a run fires before its second, of which the wall says that it is 70 ms earlier than
    the deadline: an early run that waited for the wall would be on time."""

    async def main(ticking: SteppedClock) -> bool:
        parts = Parts(self_trades=SimpleNamespace(is_alone=lambda intent: True))
        deadline = ticking.now + 0.15
        entry_unix = deadline - faults.EARLY_BY + 0.6 * STEP_LIMIT
        run: Any = SimpleNamespace(id=1, entry_unix=entry_unix)
        await parts.burst.wait_for(run, deadline, [])
        parts.quiet.end(1)
        return ticking.now < entry_unix

    with planted(name), monkeypatch.context() as patch:
        return asyncio.run(main(SteppedClock(patch)))


def test_send_early_fires_before_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fired_early("send_early", monkeypatch)
    assert not fired_early("", monkeypatch)


def shot(name: str, **fields: Any) -> str:
    """What an order of a run that enters in a minute is told as it is shot."""
    minute = dt.timedelta(minutes=1)
    run = live_run(entry_at=clock.now() + minute, grace_until=clock.now() + 2 * minute)
    desk = send_desk(owned=True, **fields)
    with planted(name):
        return desk.why_no_longer(live_intent(), run, clock.monotonic())


def test_send_early_finds_nothing_early_but_asks_the_switch() -> None:
    thrown = SimpleNamespace(current=Control(clock.monotonic(), platform=True))
    assert shot("send_early") == ""
    assert shot("send_early", control=thrown) == "KILL_SWITCH"
    assert shot("") == EARLY


# -- drop_intent -----------------------------------------------------------------------------------
def planned(fault: str) -> list[int]:
    """Orders of two subscribers of a straddle, as their entries are planned."""
    name = BrokerInstrument("NFO", "NIFTY", "1")
    desk = Parts(
        names=SimpleNamespace(of=lambda broker, contract_id: name),
        sender=SimpleNamespace(prepare=lambda execution, intent: True),
    ).entry
    run = live_run(STRADDLE)
    with planted(fault):
        plans = [desk._plan_one(live_execution(run), run.entry_at) for _ in range(2)]
    assert [plan.cause for plan in plans] == ["", ""]
    return [len(plan.intents) for plan in plans]


def test_drop_intent_forgets_one_order_of_the_first_subscriber() -> None:
    assert planned("drop_intent") == [1, 2]
    assert planned("") == [2, 2]


# -- skip_exit -------------------------------------------------------------------------------------
def due() -> tuple[LiveExecution, ExitOrder]:
    """A bought leg whose exit time has come."""
    execution = bought()
    steps = next_steps(execution, Situation(now_mono=1000.0, grace_over=True, exit_due=True))
    (order,) = steps.exits
    assert order.reason == "EXIT_TIME"
    return execution, order


def closed(name: str) -> list[int]:
    """Legs that are begun to be closed: by a stop, the first by time, again, and the second."""

    async def main() -> list[int]:
        desk = Parts().exits
        begun: list[Any] = []

        def note(work: Any) -> None:
            begun.append(work)
            work.close()

        desk._spawn = note  # type: ignore[method-assign]
        stopped, stop = due()
        first, second = due(), due()
        counts = []
        for exits in ([(stopped, dataclasses.replace(stop, reason="STOP"))], [first], [first]):
            desk.open_exits(exits)
            counts.append(len(begun))
        desk.open_exits([second])
        return [*counts, len(begun)]

    with planted(name):
        return asyncio.run(main())


def test_skip_exit_never_closes_the_first_leg_that_is_due() -> None:
    assert closed("skip_exit") == [1, 1, 1, 2]
    assert closed("") == [1, 2, 2, 3], "and nobody is closed twice at a time"


# -- ignore_unknown --------------------------------------------------------------------------------
def settled(name: str, *, is_there: bool) -> str:
    """What an order of which nobody knows becomes, once the book was read for a minute."""
    intent = live_intent(state=lifecycle.UNKNOWN, sends=1, sent_mono=1.0, unknown_since_mono=1.0)
    orders = (report(intent, BookState.FILLED, LOT),) if is_there else ()
    now = clock.monotonic()
    book_read(intent, *((now + seconds, orders) for seconds in (0, 30, 60)), name=name)
    return intent.state


def test_ignore_unknown_settles_nothing() -> None:
    shown = [settled("ignore_unknown", is_there=is_there) for is_there in (True, False)]
    assert shown == [lifecycle.UNKNOWN, lifecycle.UNKNOWN]
    assert settled("", is_there=True) == lifecycle.FILLED
    assert settled("", is_there=False) == lifecycle.PLANNED


def test_ignore_unknown_still_reads_what_became_of_all_others() -> None:
    intent = live_intent(state=lifecycle.ACCEPTED, sends=1)
    filled = report(intent, BookState.FILLED, LOT)
    book_read(intent, (clock.monotonic(), (filled,)), name="ignore_unknown")
    assert intent.state == lifecycle.FILLED


# -- skip_commit -----------------------------------------------------------------------------------
@pytest.fixture
def plan(transactional_db: None) -> EntryPlan:
    """An armed condor of one customer with its first order."""
    contract = load_test_contracts()[0]
    template = make_iron_condor()
    (subscription,) = subscribe_accounts(template, make_accounts(1, partner=make_partner()))
    run = make_run(template, status="ARMED")
    make_execution(run, subscription, "ARMED", committed_at=None)
    held = {run.pk: loader.live_run(run)}
    (execution,) = loader.load_executions(held, range(8), statuses=("ARMED",))
    intent = live_intent(
        execution,
        account_id=execution.account_id,
        shard=execution.shard,
        contract_id=contract.pk,
        state=lifecycle.SENDING,
        sends=1,
    )
    return EntryPlan(execution, [intent])


def commit(plan: EntryPlan) -> frozenset[int]:
    """The commit before the entry, by the owner of every shard."""
    leases.ensure_rows(8)
    claims = leases.claim(owner="test", wanted=8, ttl=60)
    tokens = {claim.shard: claim.token for claim in claims}
    return commit_entries([plan], owner="test", tokens=tokens, now=clock.now())


def test_skip_commit_writes_the_orders_after_they_have_left(
    plan: EntryPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Any] = []

    async def run_later(*work: Any) -> None:
        later.append(work)

    async def fire(desk: EntryFlows, run: LiveRun, first: Any, waves: Any) -> None:
        """What was committed leaves."""

    monkeypatch.setattr(faults, "WRITTEN_AFTER", 0)
    monkeypatch.setattr(EntryFlows, "_commit_and_fire", fire)
    desk = Parts(db=SimpleNamespace(run=run_later)).entry
    with planted("skip_commit"):
        assert commit(plan) == {plan.execution.id}
        assert Execution.objects.get().status == "COMMITTED"
        assert not OrderIntent.objects.exists()
        plan.execution.status = "COMMITTED"
        withdrawn = EntryPlan(live_execution(status="ARMED"), [live_intent()])
        asyncio.run(desk._commit_and_fire(plan.execution.run, [plan, withdrawn], []))
    ((write, rows),) = later
    write(rows)
    assert OrderIntent.objects.get().code == plan.intents[0].code


def test_without_skip_commit_they_are_written_first(plan: EntryPlan) -> None:
    assert commit(plan) == {plan.execution.id}
    assert OrderIntent.objects.get().code == plan.intents[0].code


# -- split_account ---------------------------------------------------------------------------------
def test_split_account_gives_each_row_a_book_of_its_own() -> None:
    """What is kept of it says still whose account it is: that is what the broker is asked with."""
    with planted("split_account"):
        actors = Actors()
        here, there = actors.of(REAL, HERE), actors.of(REAL, THERE)
        assert here is not there
        assert here is actors.of(REAL, HERE) is actors.at(HERE)
        assert here.real == there.real == REAL
    whole = Actors()
    assert whole.of(REAL, HERE) is whole.of(REAL, THERE) is whole.at(THERE)


def paces(name: str) -> int:
    """How many paces two rows of one real account keep."""
    session = Session("ZB9001", "key", "token")
    here = TradingAccount(HERE, "zebu", "ZB9001", "live", "", session, "")
    there = dataclasses.replace(here, account_id=THERE)
    with planted(name):
        accounts = Parts().accounts
        return len({id(accounts._pacer(account, 0)) for account in (here, there, here)})


def test_split_account_gives_each_row_a_pace_of_its_own() -> None:
    assert (paces("split_account"), paces("")) == (2, 1)


@pytest.mark.parametrize("name", sorted(set(faults.FAULTS) - {"split_account"}))
def test_every_other_fault_leaves_accounts_whole(name: str) -> None:
    with planted(name):
        actors = Actors()
        assert actors.of(REAL, HERE) is actors.of(REAL, THERE)
    assert paces(name) == 1
