"""Whole days with order updates: books that are dead, streams that are silent, doubled or cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from execution.models import Execution, OrderIntent
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import leg_spec, make_template
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
#: Brokers that tell of orders by themselves.
KINDS = ("zebu", "zerodha")


def subscribed(installation: Installation, count: int, hold: float) -> list[Any]:
    """Customers of a bought wing and a sold call: the sold leg waits for the bought one's fill."""
    accounts = make_accounts(count, partner=make_partner(), brokers=KINDS)
    log_in(accounts, installation.control.token, clock.now())
    template = make_template(
        legs=[leg_spec("BUY", "CE", "OTM4"), leg_spec("SELL", "CE", "OTM2")],
        strategy=installation.entry_in(9, hold),
        fee=None,
    )
    subscribe_accounts(template, accounts)
    return accounts


def entered(count: int) -> Callable[[], bool]:
    return lambda: Execution.objects.filter(status="OPEN").count() == count


def test_a_sold_leg_waited_for_a_book_that_was_dead(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: the sold leg waited although the broker had reported the fill. Every order book of the
    day is an error page; the updates alone let the sold legs leave."""
    count = 2 * len(KINDS)
    subscribed(installation, count, 600)
    installation.control.ask("POST", "/faults", kind="html_502", op="book")
    executor()
    wait_until(entered(count), 40)
    assert OrderIntent.objects.filter(purpose="ENTRY", state="FILLED").count() == 2 * count


def test_without_updates_the_books_do_it(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    installation.control.ask("POST", "/manner", updates="silent")
    count = 2 * len(KINDS)
    subscribed(installation, count, 12)
    executor()
    wait_until(entered(count), 40)
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []


def test_control_without_updates_or_books_nothing_is_known(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    installation.control.ask("POST", "/manner", updates="silent")
    subscribed(installation, 2, 600)
    installation.control.ask("POST", "/faults", kind="html_502", op="book")
    executor()
    wait_until(lambda: OrderIntent.objects.filter(state="ACCEPTED").exists(), 40)
    wait_until(lambda: installation.control.ask("GET", "/faults")["faults"][0]["hit_count"] > 4, 40)
    assert not Execution.objects.filter(status="OPEN").exists()
    assert OrderIntent.objects.filter(state="FILLED").count() == 0


def test_updates_that_come_twice_and_late_make_no_second_order(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    installation.control.ask("POST", "/manner", updates="twice")
    count = 2 * len(KINDS)
    subscribed(installation, count, 6)
    executor()
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    tags = [order["tag"] for order in installation.control.orders()]
    assert len(tags) == len(set(tags)) == 4 * count
    assert not Execution.objects.filter(needs_attention=True).exists()
