"""Exits while the feed is dead and the market has moved: all leave, and by whose price is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brokers.models import FeedAccount
from execution.models import Execution, OrderIntent
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
CUSTOMERS = 10


@pytest.mark.parametrize(
    ("dead", "source"),
    [
        pytest.param("the_feed", "ACCOUNT", id="the_feed"),
        pytest.param("every_quote", "POSITION", id="every_quote"),
    ],
)
def test_with_a_dead_feed_half_of_the_legs_stayed_open(
    installation: Installation, executor: Callable[[], Any], dead: str, source: str
) -> None:
    """Seen: the feed was dead at the exit and the price had moved by 60 %: 10 of 20 legs were open
    after five tries from the entry's price."""
    installation.control.ask("POST", "/market", noise=0)
    installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 18)), CUSTOMERS)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == CUSTOMERS, 40)
    feed = FeedAccount.objects.get()
    match = {"client_id": feed.client_id} if dead == "the_feed" else {}
    installation.control.ask("POST", "/faults", kind="html_502", op="quote", match=match)
    installation.control.ask(
        "POST", "/manner", updates="dead"
    )  # nor does the websocket say anything
    iv = installation.control.ask("GET", "/market")["underlyings"]["NIFTY"]["iv"]
    installation.control.ask("POST", "/market", underlying="NIFTY", iv=1.6 * iv)
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    exits = OrderIntent.objects.filter(purpose="EXIT")
    first = exits.filter(attempt_group=0)
    assert {(i.price_source, i.state) for i in first} == {(source, "FILLED")}
    assert first.count() == 2 * CUSTOMERS
    entered = {
        (i.execution_id, i.leg_key): i.average_price
        for i in OrderIntent.objects.filter(purpose="ENTRY")
    }
    for intent in first:
        before = entered[intent.execution_id, intent.leg_key]
        assert intent.reference_price > before * Decimal("1.3"), "priced by the market of now"
