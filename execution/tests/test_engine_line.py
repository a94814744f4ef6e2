"""More accounts enter than the executor follows up at once: everybody gets their sold legs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from brokers.models import BrokerAccount
from execution import admission
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.entries import entry_flow, entry_queue
from execution.engine.entries.entry_flow import EntryFlows
from execution.models import Execution, OrderIntent
from execution.services import engage_kill_switch
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import DAY, Installation, wait_until
from marketplace.tests.factories import leg_spec, make_template
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
LINE = admission.Line
COUNT: Final = 6
#: One account of two legs, be it that its book has to be read.
WINDOW: Final = 2
FOR_EVER: Final = 3000


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "WINDOW", WINDOW)


def count_who_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window in which an account that waits for its broker keeps its place for ever."""
    monkeypatch.setattr(admission, "Line", lambda window: LINE(window, patience=math.inf))


def nobody_has_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the second net: nobody in line begins because it is late enough."""
    monkeypatch.setattr(admission, "SHARE", 1000.0)
    monkeypatch.setattr(entry_queue, "_takes", lambda *_: -1000.0)


def subscribed(installation: Installation) -> list[BrokerAccount]:
    """Customers of a bought wing and a sold call, in the order in which they enter today."""
    accounts = make_accounts(COUNT, partner=make_partner(), brokers=("zebu", "zerodha"))
    log_in(accounts, installation.control.token, clock.now())
    template = make_template(
        legs=[leg_spec("BUY", "CE", "OTM4"), leg_spec("SELL", "CE", "OTM2")],
        strategy=installation.entry_in(9, 600),
        fee=None,
    )
    subscribe_accounts(template, accounts)
    turn = DAY.toordinal() * 7919 % COUNT
    accounts.sort(key=lambda account: account.pk)
    return accounts[turn:] + accounts[:turn]


def hang(installation: Installation, account: BrokerAccount) -> None:
    """Its orders are taken and never answered, its book is never read, nothing is told of fills."""
    installation.control.ask("POST", "/manner", updates="silent")
    for operation in ("place", "book", "positions"):
        installation.strike(account, "delay", op=operation, seconds=FOR_EVER)


def entered() -> set[str]:
    return set(Execution.objects.filter(status="OPEN").values_list("account__client_id", flat=True))


def ids(accounts: list[BrokerAccount]) -> set[str]:
    return {account.client_id for account in accounts}


def orders_of(
    installation: Installation, accounts: list[BrokerAccount]
) -> Counter[tuple[str, str]]:
    """What reached the broker: how often, by account and side."""
    client_ids = ids(accounts)
    return Counter(
        (order["client_id"], order["side"])
        for order in installation.control.orders()
        if order["client_id"] in client_ids
    )


def test_an_account_that_hangs_keeps_no_sold_legs_back(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """All other accounts enter in full, each order sent once, and nobody runs out of the grace."""
    first, *others = subscribed(installation)
    hang(installation, first)
    executor()
    wait_until(lambda: entered() == ids(others), 60)
    assert set(orders_of(installation, others).values()) == {1}
    assert orders_of(installation, [first]) == {(first.client_id, "BUY"): 1}
    assert not OrderIntent.objects.filter(cause="GRACE_OVER").exists()


def test_who_is_not_committed_before_t_is_committed_after_it(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: 2,500 accounts in one commit, and the first order left 1.1 s after T."""
    monkeypatch.setattr(entry_flow, "WAVE", 2)
    monkeypatch.setattr(EntryFlows, "_takes", staticmethod(lambda plans: 1000.0))
    accounts = subscribed(installation)
    committed: list[tuple[int, bool]] = []
    grant = EntryFlows._grant

    async def granted(desk: EntryFlows, plans: Sequence[EntryPlan]) -> frozenset[int]:
        execution_ids = await grant(desk, plans)
        run = plans[0].execution.run
        committed.append((len(execution_ids), clock.now() >= run.entry_at))
        return execution_ids

    monkeypatch.setattr(EntryFlows, "_grant", granted)
    executor()
    wait_until(lambda: entered() == ids(accounts), 60)
    assert [count for count, _ in committed] == [1, 2, 2, 1]
    assert all(late for _, late in committed[1:]), "when the first had left"
    assert set(orders_of(installation, accounts).values()) == {1}
    sent = OrderIntent.objects.filter(group=0).order_by("sent_at").values_list("account_id")
    assert [account_id for (account_id,) in sent] == [account.pk for account in accounts]


def test_control_counting_who_hangs_holds_everybody_back(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without patience and latest starts, one account that hangs makes all others miss the run."""
    count_who_hangs(monkeypatch)
    nobody_has_a_moment(monkeypatch)
    first, *others = subscribed(installation)
    hang(installation, first)
    executor()
    missed = Execution.objects.filter(status="MISSED", cause="GRACE_OVER")
    wait_until(lambda: missed.count() == len(others), 60)
    assert entered() == set()
    assert not orders_of(installation, others)


def test_a_window_that_is_never_free_costs_nobody_the_entry(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody has a moment of their own, in the first half of the grace."""
    count_who_hangs(monkeypatch)
    first, *others = subscribed(installation)
    hang(installation, first)
    executor()
    wait_until(lambda: entered() == ids(others), 60)
    assert set(orders_of(installation, others).values()) == {1}


def test_who_stood_in_line_is_sent_by_whoever_takes_over(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clean stop in the middle: what waits is PLANNED, which nobody has to prove absent."""
    count_who_hangs(monkeypatch)
    monkeypatch.setattr(entry_queue, "NO_STOP", 0.0)
    first, *others = subscribed(installation)
    hang(installation, first)
    running = executor()
    wait_until(lambda: bool(orders_of(installation, [first])), 40)
    assert not orders_of(installation, others)
    waiting = OrderIntent.objects.filter(account__in=others)
    assert set(waiting.values_list("state", "sends")) == {("PLANNED", 0)}
    running.stop()
    monkeypatch.setattr(admission, "Line", LINE)
    executor()
    wait_until(lambda: entered() == ids(others), 60)
    assert set(orders_of(installation, others).values()) == {1}


def test_the_kill_switch_reaches_those_who_stand_in_line(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count_who_hangs(monkeypatch)
    nobody_has_a_moment(monkeypatch)
    first, *others = subscribed(installation)
    hang(installation, first)
    executor()
    wait_until(lambda: bool(orders_of(installation, [first])), 40)
    engage_kill_switch(template_id=None, reason="Rehearsal", actor=SYSTEM, now=clock.now())
    missed = Execution.objects.filter(status="MISSED", cause="KILL_SWITCH")
    wait_until(lambda: missed.count() == len(others), 20)
    assert not orders_of(installation, others)
