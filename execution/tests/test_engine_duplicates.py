"""Orders that turn up after they were proven absent: closed at the broker, once, and told.

Judged at the broker's own book. The visibility delay of these days is 2 s, the broker's 9 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from brokers.models import BrokerAccount
from execution.engine.books.visibility import CHECKED_AFTER
from execution.models import Alarm, BookLag, Execution, OrderIntent
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
LOT = 65
HIDDEN = 9.0


def hide(installation: Installation, account: BrokerAccount, side: str, count: int = 1) -> None:
    """The next orders are accepted, answered with 504, and in no list for a while."""
    fault = {"seconds": HIDDEN, "answer": "status", "count": count}
    installation.strike(account, "hide", match={"side": side}, **fault)


def filled(installation: Installation, account: BrokerAccount, side: str) -> Counter[str]:
    """Orders that filled, by contract, at the broker."""
    return Counter(
        order["symbol"]
        for order in installation.control.orders()
        if order["client_id"] == account.client_id
        and order["side"] == side
        and order["status"] == "COMPLETE"
    )


def held(installation: Installation) -> Counter[tuple[str, int]]:
    return Counter(
        (row["client_id"], row["quantity"]) for row in open_at_brokers(installation.control)
    )


def closings() -> Any:
    return OrderIntent.objects.filter(purpose="UNWIND", reason="DUPLICATE")


def test_a_504_and_a_hidden_order_left_duplicates_open(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: 24 duplicates were flagged and never closed. Now each is closed once, also across a
    restart."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 55)), 2)
    for account in accounts:
        hide(installation, account, "SELL")
    first = executor()
    wait_until(lambda: closings().filter(state="FILLED").count() == 2, 40)
    for account in accounts:
        sold = filled(installation, account, "SELL")
        assert sorted(sold.values()) == [1, 2], "one of the two legs was sold twice"
    wait_until(lambda: set(held(installation)) == {(a.client_id, -LOT) for a in accounts}, 10)
    assert Execution.objects.filter(status="OPEN", needs_attention=True).count() == 2
    assert set(Alarm.objects.values_list("cause", flat=True)) == {"DUPLICATE"}
    twice = OrderIntent.objects.filter(surplus_quantity=LOT)
    assert {(i.purpose, i.filled_quantity, bool(i.surplus_orders)) for i in twice} == {
        ("ENTRY", LOT, True)
    }
    # both brokers' books were late, and nobody has said that it was the orders
    wait_until(lambda: BookLag.objects.count() == 2, CHECKED_AFTER + 10)
    assert all(row.seconds >= HIDDEN - 1 for row in BookLag.objects.all())
    first.stop()
    executor()
    wait_until(runs_closed, 90)
    assert open_at_brokers(installation.control) == []
    assert closings().count() == 2
    for account in accounts:
        assert sum(filled(installation, account, "BUY").values()) == 3, "two exits and one surplus"
    for execution in Execution.objects.all():
        intents = OrderIntent.objects.filter(execution=execution)
        cash = sum(
            (1 if i.side == "SELL" else -1)
            * (i.filled_quantity * i.average_price + i.surplus_quantity * i.surplus_price)
            for i in intents
        )
        assert execution.realised_pnl == round(cash, 2)


def test_an_exit_that_was_hidden_opened_a_reverse_position(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 8)), 2)
    for account in accounts:
        hide(installation, account, "BUY")  # only its exits buy
    executor()
    wait_until(lambda: closings().filter(state="FILLED").count() == 2, 60)
    assert {intent.side for intent in closings()} == {"SELL"}
    for account in accounts:
        assert sorted(filled(installation, account, "BUY").values()) == [1, 2]
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    assert Execution.objects.filter(status="CLOSED", needs_attention=True).count() == 2


def test_a_hidden_first_send_left_naked_shorts(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: the first send had taken the margin, the second was refused, and executions were FAILED
    without an alarm, −65 and −65 open."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 60)), 2)
    for account in accounts:
        hide(installation, account, "SELL")  # one leg; the other is filled at once
        fault = {"cause": "MARGIN", "match": {"side": "SELL"}}
        # the legs' first sends are past; what comes is the second send of the hidden one
        installation.control.ask(
            "POST",
            "/faults",
            kind="delay",
            seconds=0,
            count=1,
            match={"client_id": account.client_id, "side": "SELL"},
        )
        installation.strike(account, "reject", **fault)
    executor()
    wait_until(lambda: Execution.objects.filter(status="FAILED").count() == 2, 60)
    assert open_at_brokers(installation.control) == []
    late = OrderIntent.objects.filter(purpose="ENTRY", sends=2)
    assert {(i.state, i.filled_quantity) for i in late} == {("FILLED", LOT)}
    assert {i.reason for i in OrderIntent.objects.filter(purpose="UNWIND")} == {"UNWIND"}


def test_an_entry_given_up_turned_up_in_an_unreadable_book(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen in a story: what the positions showed for the rest of the day nobody closed."""
    (account,) = installation.subscribe(
        make_short_straddle(strategy=installation.entry_in(9, 120)), 1
    )
    fault = {"seconds": 25.0, "answer": "status", "count": 1}
    installation.strike(account, "hide", match={"side": "SELL"}, **fault)
    installation.strike(
        account, "delay", match={"side": "SELL"}, seconds=0, count=1
    )  # the other leg
    installation.strike(
        account, "reject", match={"side": "SELL"}, cause="MARGIN"
    )  # its second send
    executor()
    undone = OrderIntent.objects.filter(purpose="UNWIND", state="FILLED")
    wait_until(lambda: undone.count() == 1, 40)
    installation.strike(account, "html_502", op="book")
    assert held(installation) == {(account.client_id, -LOT): 1}
    wait_until(lambda: open_at_brokers(installation.control) == [], 60)
    assert Alarm.objects.filter(cause="UNRESOLVED").exists()
    installation.control.ask("DELETE", "/faults")
    wait_until(lambda: Execution.objects.filter(status="FAILED").count() == 1, 60)
    assert sum(filled(installation, account, "SELL").values()) == 2
    assert sum(filled(installation, account, "BUY").values()) == 2, "closed once"
