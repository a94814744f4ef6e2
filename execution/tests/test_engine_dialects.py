"""A trading day at brokers that answer oddly: histories in books, orders cut down in an app."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings

from execution.models import Execution, OrderIntent
from execution.pricing import on_grid
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, assert_filled, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]
LOT = 65
TICK = Decimal("0.05")
NAMED = (
    "Your order price is higher than the current upper circuit limit of {}. "
    "Place an order within the daily range."
)


def is_flat(installation: Installation) -> bool:
    positions = installation.control.ask("GET", "/positions")["positions"]
    return all(position["quantity"] == 0 for position in positions)


def test_a_book_with_orders_histories_raises_no_duplicate(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: the same id three times was DUPLICATE, half stuck, 24 positions open."""
    installation.control.ask("POST", "/manner", history=True)
    template = make_short_straddle(strategy=installation.entry_in(9, 6))
    installation.subscribe(template, 4)
    executor()
    wait_until(runs_closed, 60)
    assert_filled(OrderIntent.objects.all())
    ended = {(e.status, e.needs_attention, e.cause) for e in Execution.objects.all()}
    assert ended == {("CLOSED", False, "")}
    assert is_flat(installation)


class BrokersApp:
    """The customer's own app at Kite: another login, the same orders."""

    def __init__(self, installation: Installation, client_id: str) -> None:
        answer = installation.control.ask(
            "POST", "/sessions", broker="zerodha", api_key="theapp", client_id=client_id
        )
        self._url = settings.QUANTLEAP_BROKERS["zerodha"]["api"]
        assert urlsplit(self._url).hostname == "127.0.0.1"
        self._headers = {"Authorization": f"token theapp:{answer['access_token']}"}

    def cut_down(self, order_id: str, units: int) -> None:
        requests.put(
            f"{self._url}/orders/regular/{order_id}",
            data={"quantity": units},
            headers=self._headers,
            timeout=10,
        ).raise_for_status()


def test_an_order_cut_down_in_the_app_is_final_and_alarms(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Seen: an order cut from 130 to 65 in the broker's own app was PARTIAL for ever, and nobody
    was told."""
    template = make_short_straddle(strategy=installation.entry_in(9, 30))
    (account,) = accounts = make_accounts(1, partner=make_partner(), brokers=("zerodha",))
    log_in(accounts, installation.control.token, clock.now())
    subscribe_accounts(template, accounts, multipliers=(Decimal(2),))
    match = {"client_id": account.client_id, "side": "SELL"}
    installation.control.ask("POST", "/faults", kind="partial_fill", match=match, count=1)
    app = BrokersApp(installation, account.client_id)
    executor()
    wait_until(lambda: OrderIntent.objects.filter(state="PARTIAL").exists(), 30)
    partial = OrderIntent.objects.get(state="PARTIAL")
    app.cut_down(partial.broker_order_id, LOT)
    wait_until(lambda: Execution.objects.filter(needs_attention=True).exists(), 20)
    partial.refresh_from_db()
    assert (partial.state, partial.filled_quantity) == ("CANCELLED", LOT)
    assert partial.cause == "CHANGED_OUTSIDE"
    wait_until(lambda: is_flat(installation), 40)


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_an_exit_refused_for_its_price_is_priced_in_the_band(
    installation: Installation, executor: Callable[[], Any], broker: str
) -> None:
    """Seen: 1,728 tries at refused prices. The second try takes the limit that the refusal
    named."""
    installation.control.ask("POST", "/market", noise=0)
    template = make_short_straddle(strategy=installation.entry_in(9, 8))
    accounts = make_accounts(1, partner=make_partner(), brokers=(broker,))
    log_in(accounts, installation.control.token, clock.now())
    subscribe_accounts(template, accounts)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").exists(), 30)
    highest = {}
    for order in installation.control.orders():
        highest[order["symbol"]] = high = on_grid(
            Decimal(order["average_price"]) * Decimal("1.008"), TICK, up=True
        )
        fault = {"kind": "reject", "async": True, "cause": "PRICE_BAND", "count": 1}
        match = {"side": "BUY", "symbol": order["symbol"]}
        installation.control.ask(
            "POST", "/faults", **fault, match=match, message=NAMED.format(high)
        )
    wait_until(runs_closed, 60)
    assert is_flat(installation)
    left = [order for order in installation.control.orders() if order["side"] == "BUY"]
    for symbol, high in highest.items():
        tries = [order for order in left if order["symbol"] == symbol]
        assert [order["status"] for order in tries] == ["REJECTED", "COMPLETE"]
        assert Decimal(tries[0]["price"]) > high
        assert Decimal(tries[1]["price"]) == high
    causes = set(OrderIntent.objects.filter(state="REJECTED").values_list("cause", flat=True))
    assert causes == {"PRICE_BAND"}
    assert Execution.objects.get().needs_attention is False
