"""Runs that enter late and leave soon, on a database and at a broker that are slow.

Seen: two late runs of a thousand accounts, and 352 legs "closed outside" though every exit had
filled. A round decides an exit, writes, and only then is it asked for; where the writing took long,
the same exit of an earlier round had been written, sent and filled meanwhile.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from brokers.models import BrokerAccount
from execution import lifecycle
from execution.engine.database import writer
from execution.engine.database.writer import Batch, Written
from execution.engine.exits import exit_orders
from execution.engine.exits.exit_orders import Exit, ExitOrders
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.exit_grants import Closing
from execution.exit_limits import Grant
from execution.models import Alarm, Execution
from execution.state import LiveExecution, LiveIntent
from execution.steps import ExitOrder
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from execution.unreported import exit_tries
from execution.witnesses import Leg
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
#: Seconds after which a round's writing comes to an end, whatever became of the exits.
LONGEST = 3.0


class Crowd:
    """Does to the rounds exactly what a thousand accounts did by chance: everybody is asked about
    in every round, and its writing takes until one of those whose exit it has decided, while an
    earlier round's was on its way, has left by that one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._day: TradingDay | None = None
        self._desk: ExitOrders | None = None
        take, open_exits = WorkList.take, ExitOrders.open_exits

        def everybody(
            work: WorkList, at_most: int
        ) -> tuple[dict[int, None], dict[str, LiveIntent]]:
            self._day = work._day
            scheduled, dirty = take(work, at_most)
            return scheduled | dict.fromkeys(self._day.executions), dirty

        def noted(desk: ExitOrders, exits: Iterable[Exit]) -> None:
            self._desk = desk
            open_exits(desk, exits)

        monkeypatch.setattr(WorkList, "take", everybody)
        monkeypatch.setattr(ExitOrders, "open_exits", noted)
        monkeypatch.setattr("execution.engine.rounds.write", self._write)

    def _write(self, batch: Batch, **about: Any) -> Written:
        on_its_way = set() if self._desk is None else set(self._desk._busy)
        decided = [leg for leg in on_its_way if not self._exits(leg)]
        written = writer.write(batch, **about)
        waiting, over = threading.Event(), clock.monotonic() + LONGEST
        while decided and clock.monotonic() < over and not any(map(self._has_left, decided)):
            waiting.wait(0.01)
        return written

    def _exits(self, leg: Leg) -> list[LiveIntent]:
        assert self._day is not None
        execution = self._day.executions.get(leg[0])
        return [] if execution is None else exit_tries(execution, leg[1])

    def _has_left(self, leg: Leg) -> bool:
        return any(intent.state == lifecycle.FILLED for intent in self._exits(leg))


def play(
    installation: Installation,
    executor: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    *,
    mended: bool = True,
) -> list[BrokerAccount]:
    """Two strategies in each of ``count`` accounts sell the same contracts; they begin late, and
    leave at the same moment. Books are slow, and positions behind the fills.

    Without ``mended`` an exit is asked for though its leg has had it since it was decided.
    """
    accounts = make_accounts(count, partner=make_partner(), brokers=("zebu", "zerodha"))
    log_in(accounts, installation.control.token, clock.now())
    for number, account in enumerate(accounts):
        installation.strike(account, "lag", op="positions", seconds=2)
        installation.strike(account, "delay", op="book", seconds=number % 8 / 10)
    asked: list[bool] = []
    is_stale = exit_orders._is_stale

    def ask(execution: LiveExecution, order: ExitOrder) -> bool:
        asked.append(is_stale(execution, order))
        return mended and asked[-1]

    monkeypatch.setattr(exit_orders, "_is_stale", ask)
    Crowd(monkeypatch)
    times = installation.entry_in(2, 10)
    for name in ("One", "Another"):
        template = make_short_straddle(name=name, stop_pct=None, strategy=times)
        subscribe_accounts(template, accounts, now=installation.now - dt.timedelta(minutes=1))
    entry_at = clock.at_ist(clock.ist_date(clock.now()), times["entry_time"])
    wait_until(lambda: clock.now() > entry_at, 10)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").exists(), 30)
    wait_until(runs_closed, 120)
    assert any(asked), "no exit was asked for after its leg had left"
    return accounts


def test_two_late_runs_on_a_slow_database_were_closed_outside(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trades by hand here. Judged at the broker's book: what was sold is bought back."""
    accounts = play(installation, executor, monkeypatch, 60)
    assert Alarm.objects.filter(cause="CLOSED_OUTSIDE").count() == 0
    executions = list(Execution.objects.all())
    ends = Counter(
        (execution.status, execution.cause, execution.realised_pnl is None)
        for execution in executions
    )
    assert ends == {("CLOSED", "", False): 2 * len(accounts)}
    assert not any(execution.closed_outside for execution in executions)
    assert open_at_brokers(installation.control) == []
    units: Counter[tuple[str, str]] = Counter()
    for order in installation.control.orders():
        units[order["client_id"], order["side"]] += int(order["filled_quantity"])
    assert {units[account.client_id, side] for account in accounts for side in ("BUY", "SELL")} == {
        4 * 65
    }


def _whatever_is_not_granted(order: ExitOrder, grant: Grant) -> Closing:
    units = min(order.quantity, grant.units)
    return Closing(units, 0, order.quantity - units)


def test_an_exit_asked_for_after_its_leg_left_is_found(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: both mends taken back. A decision from before the leg left is no exit any more,
    and of what may not be closed only that is somebody else's which the broker's book shows."""
    monkeypatch.setattr(exit_orders, "to_close", _whatever_is_not_granted)
    play(installation, executor, monkeypatch, 16, mended=False)
    assert open_at_brokers(installation.control) == []
    assert Alarm.objects.filter(cause="CLOSED_OUTSIDE").exists()
