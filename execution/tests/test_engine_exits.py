"""How much is closed when somebody else trades, or the broker's witnesses lag, fail or hang.

Judged at the broker's own book: nothing open, nothing turned over, and who could not know was told.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import Side
from brokers.models import BrokerAccount
from execution.models import Execution, OrderIntent
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import make_iron_condor, make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


LEG = ("account", "symbol", "quantity")


def all_open(count: int) -> Callable[[], bool]:
    return lambda: Execution.objects.filter(status="OPEN").count() == count


def square_off(installation: Installation, account: BrokerAccount) -> None:
    """The customer buys back what our entries sold, at any price."""
    for intent in OrderIntent.objects.filter(account=account, purpose="ENTRY"):
        price = (intent.average_price * Decimal("1.05")).quantize(Decimal("0.1"))
        installation.trade_by_hand(account, intent.symbol, Side.BUY, intent.filled_quantity, price)


def test_customers_who_squared_off_were_turned_over(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: while positions failed, 96 exits opened 96 reverse positions. The order book knows what
    was traded by hand."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 10)), 4)
    executor()
    wait_until(all_open(4), 40)
    for account in accounts[:2]:
        installation.strike(account, "html_502", op="positions")
        square_off(installation, account)
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    squared_off = Execution.objects.filter(account__in=accounts[:2])
    assert {(e.status, e.cause, e.needs_attention, e.realised_pnl) for e in squared_off} == {
        ("CLOSED", "CLOSED_OUTSIDE", True, None)
    }
    assert not OrderIntent.objects.filter(account__in=accounts[:2], purpose="EXIT").exists()


def test_without_a_witness_nobody_is_turned_over(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """While neither positions nor book can be read, no exit leaves, and a person is told."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 14)), 3)
    executor()
    wait_until(all_open(3), 40)
    blind = accounts[0]
    for operation in ("positions", "book"):
        installation.strike(blind, "html_502", op=operation)
    square_off(installation, blind)
    wait_until(lambda: Execution.objects.filter(status="CLOSED").count() == 2, 40)
    wait_until(lambda: Execution.objects.get(account=blind).needs_attention, 20)
    assert Execution.objects.get(account=blind).cause == "NO_WITNESS"
    assert not OrderIntent.objects.filter(account=blind, purpose="EXIT").exists()
    installation.control.ask("DELETE", "/faults")  # the broker is back
    wait_until(runs_closed, 40)
    assert open_at_brokers(installation.control) == []


def test_one_account_that_hung_kept_everybodys_exits_back(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: the positions of one account hung, and the other three left 17.6 s late."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 24)), 4)
    executor()
    wait_until(all_open(4), 40)
    installation.strike(accounts[0], "delay", op="positions", seconds=30)
    assert not OrderIntent.objects.filter(purpose="EXIT").exists(), "too late to hang"
    wait_until(lambda: Execution.objects.filter(status="CLOSED").count() == 3, 40)
    others = OrderIntent.objects.filter(account__in=accounts[1:], purpose="EXIT")
    last = max(intent.sent_at for intent in others if intent.sent_at)
    hung = OrderIntent.objects.filter(account=accounts[0], purpose="EXIT", sent_at__lt=last)
    assert not hung.exists(), "nobody waited for it"
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []


@pytest.mark.parametrize("lag", [1, 3])
def test_a_leg_refused_for_margin_left_naked_shorts(
    installation: Installation, executor: Callable[[], Any], lag: int
) -> None:
    """Seen: with positions behind the fills the unwinding read "no position", sent nothing, and
    left 24 and 72 open, silently."""
    accounts = installation.subscribe(make_iron_condor(strategy=installation.entry_in(9, 60)), 4)
    for account in accounts:
        installation.strike(account, "lag", op="positions", seconds=lag)
        # of the sold legs one is refused, and the other fills if it meets the market in time
        installation.strike(account, "delay", seconds=0, count=1, match={"side": "SELL"})
        installation.strike(account, "reject", cause="MARGIN", count=1, match={"side": "SELL"})
    executor()
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    assert set(Execution.objects.values_list("status", "cause")) == {("FAILED", "MARGIN")}
    assert not Execution.objects.filter(needs_attention=True).exists()
    entered, undone = (
        set(OrderIntent.objects.filter(purpose=purpose, state="FILLED").values_list(*LEG))
        for purpose in ("ENTRY", "UNWIND")
    )
    assert undone == entered
    assert len(entered) >= 2 * len(accounts), "the bought legs were filled in any case"
