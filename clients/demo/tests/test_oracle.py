"""The brokers' own book, as the demo and the week read it at the simulator's control port."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests

from clients.demo.broker import Simulator
from clients.demo.story import IST, UNDERLYING
from clients.week.street import Street
from execution.tests.installation import SimulatorThread

TAG = "QABCDEFGHIJKL1"
#: Within a Wednesday's session.
NOW = dt.datetime(2026, 9, 9, 9, 30, tzinfo=IST)


@pytest.fixture
def brokers() -> Iterator[SimulatorThread]:
    running = SimulatorThread(lambda: NOW)
    yield running
    running.stop()


def test_the_demo_and_the_week_read_one_book(brokers: SimulatorThread) -> None:
    ports = brokers.ports
    urls = (f"http://127.0.0.1:{port}" for port in (ports.control, ports.kite, ports.noren))
    simulator = Simulator(*urls)
    who = {"broker": "zerodha", "api_key": "theapp", "client_id": "OR1"}
    token = simulator.call("POST", "/sessions", who)["access_token"]
    options = [row for row in simulator._kite_rows() if row["instrument_type"] == "CE"]
    symbol = next(row["tradingsymbol"] for row in options if row["name"] == UNDERLYING)
    placed = requests.post(
        f"{simulator.kite}/orders/regular",
        data={
            "exchange": "NFO",
            "tradingsymbol": symbol,
            "transaction_type": "SELL",
            "quantity": 65,
            "product": "MIS",
            "order_type": "MARKET",
            "market_protection": "-1",
            "validity": "DAY",
            "tag": TAG,
        },
        headers={"Authorization": f"token theapp:{token}"},
        timeout=5,
    )
    assert placed.status_code == 200, placed.text
    (order,) = [row for row in simulator.book() if row.client_id == "OR1"]
    assert (order.tag, order.code, order.side) == (TAG, TAG[1:13], "SELL")
    assert order.place == ("zerodha", "OR1", symbol)
    assert order.received_at == NOW
    assert order.received_at.utcoffset() == dt.timedelta(hours=5, minutes=30)
    assert type(order.price) is Decimal
    assert order.cash == order.filled * order.price
    week = Street(simulator)
    assert order in week.book(order.received_at.date())
    assert order not in week.book(order.received_at.date() - dt.timedelta(days=1))
