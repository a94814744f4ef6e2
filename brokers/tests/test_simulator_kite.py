"""Kite on the wire: what a client of the real one would see."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from brokers.simulator.exchange import Settings
from brokers.simulator.facts import Facts
from brokers.simulator.wire import FORM
from brokers.tests.driven_simulator import API_KEY, TEN_O_CLOCK, DrivenSimulator

DATA = Path(__file__).parent / "data" / "zerodha"


@pytest.fixture
def simulator() -> DrivenSimulator:
    return DrivenSimulator()


def log_in(
    simulator: DrivenSimulator, user_id: str = "AB1234", **extra: str
) -> dict[str, list[str]]:
    form = {"api_key": API_KEY, "user_id": user_id, "password": "x"} | extra
    answer = simulator.send(
        simulator.kite_wire,
        "POST",
        "/connect/login",
        urlencode(form).encode(),
        {"Content-Type": FORM},
    )
    assert answer.status == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query)


def exchange_token(simulator: DrivenSimulator, request_token: str, secret: str) -> tuple[int, Any]:
    checksum = hashlib.sha256((API_KEY + request_token + secret).encode()).hexdigest()
    form = {"api_key": API_KEY, "request_token": request_token, "checksum": checksum}
    body = urlencode(form).encode()
    answer = simulator.send(
        simulator.kite_wire, "POST", "/session/token", body, {"Content-Type": FORM}
    )
    return answer.status, json.loads(answer.body)


# -- login ---------------------------------------------------------------------------------------
def test_login_page_carries_the_redirect_params(simulator: DrivenSimulator) -> None:
    path = f"/connect/login?v=3&api_key={API_KEY}&redirect_params=state%3Da%2522b"
    page = simulator.send(simulator.kite_wire, "GET", path).body.decode()
    assert 'name="user_id"' in page
    assert 'name="redirect_params" value="state=a%22b"' in page


def test_login_redirects_with_a_one_time_token(simulator: DrivenSimulator) -> None:
    simulator.control(
        "POST",
        "/apps",
        broker="zerodha",
        api_key=API_KEY,
        redirect_url="http://127.0.0.1:1/done?a=1",
    )
    query = log_in(simulator, redirect_params="state=s1")
    assert (query["a"], query["state"], query["status"], query["action"]) == (
        ["1"],
        ["s1"],
        ["success"],
        ["login"],
    )
    status, body = exchange_token(simulator, query["request_token"][0], f"secret-{API_KEY}")
    assert status == 200
    assert body["data"]["user_id"] == "AB1234"
    status, body = exchange_token(simulator, query["request_token"][0], f"secret-{API_KEY}")
    assert (status, body["error_type"]) == (403, "TokenException")


def test_a_wrong_secret_is_refused(simulator: DrivenSimulator) -> None:
    token = log_in(simulator)["request_token"][0]
    status, body = exchange_token(simulator, token, "secret-other")
    assert (status, body["status"], body["error_type"]) == (403, "error", "TokenException")


def test_a_token_dies_at_six_in_the_morning(simulator: DrivenSimulator) -> None:
    assert simulator.kite("GET", "/user/profile")[0] == 200
    simulator.now = dt.datetime(2026, 8, 19, 0, 29, tzinfo=dt.UTC)  # 05:59 IST
    assert simulator.kite("GET", "/user/profile")[0] == 200
    simulator.now = dt.datetime(2026, 8, 19, 0, 30, tzinfo=dt.UTC)
    status, body = simulator.kite("GET", "/user/profile")
    assert (status, body["error_type"]) == (403, "TokenException")


def test_another_login_ends_the_first(simulator: DrivenSimulator) -> None:
    simulator.token("zerodha", "AB1234")
    simulator.exchange.sessions.open("zerodha", API_KEY, "AB1234", simulator.now)
    assert simulator.kite("GET", "/orders")[0] == 403


def test_logging_out_ends_the_session(simulator: DrivenSimulator) -> None:
    token = simulator.token("zerodha", "AB1234")
    path = f"/session/token?api_key={API_KEY}&access_token={token}"
    assert simulator.kite("DELETE", path)[1] == {"status": "success", "data": True}
    assert simulator.kite("GET", "/orders")[0] == 403


# -- orders --------------------------------------------------------------------------------------
def test_an_order_is_pending_then_complete(simulator: DrivenSimulator) -> None:
    status, body = simulator.kite_place()
    assert status == 200
    order_id = body["data"]["order_id"]
    assert simulator.kite("GET", "/orders")[1]["data"][0]["status"] == "OPEN PENDING"
    simulator.forward(0.03)
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert (row["order_id"], row["status"], row["tag"]) == (order_id, "COMPLETE", "Q0001")
    assert row["filled_quantity"] == row["quantity"] == 65
    assert row["average_price"] == float(simulator.exchange.book.orders[0].average_price)
    assert row["order_timestamp"] == "2026-08-18 10:00:00"
    history = simulator.kite("GET", f"/orders/{order_id}")[1]["data"]
    assert [step["status"] for step in history] == [
        "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "COMPLETE",
    ]  # fmt: skip
    trades = simulator.kite("GET", f"/orders/{order_id}/trades")[1]["data"]
    assert [trade["quantity"] for trade in trades] == [65]
    assert trades == simulator.kite("GET", "/trades")[1]["data"]
    net = simulator.kite("GET", "/portfolio/positions")[1]["data"]["net"]
    assert [(p["tradingsymbol"], p["quantity"]) for p in net] == [(row["tradingsymbol"], 65)]


def test_the_row_has_every_field_of_the_real_book(simulator: DrivenSimulator) -> None:
    simulator.kite_place()
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    recorded = json.loads((DATA / "orders.json").read_text())["data"][0]
    dropped_since_2017 = {"rejected_by"}
    assert recorded.keys() - dropped_since_2017 <= row.keys()


def test_a_resting_order_can_be_changed_and_cancelled(simulator: DrivenSimulator) -> None:
    price = simulator.resting_price()
    order_id = simulator.kite_place(price=price)[1]["data"]["order_id"]
    simulator.forward(0.03)
    path = f"/orders/regular/{order_id}"
    assert simulator.kite("GET", "/orders")[1]["data"][0]["status"] == "OPEN"
    assert simulator.kite("PUT", path, price=price + 1)[0] == 200
    simulator.forward(0.03)
    assert simulator.kite("GET", "/orders")[1]["data"][0]["price"] == float(price + 1)
    assert simulator.kite("DELETE", path) == (
        200,
        {"status": "success", "data": {"order_id": order_id}},
    )
    status, body = simulator.kite("DELETE", path)
    assert (status, body["error_type"]) == (400, "OrderException")
    assert simulator.kite("DELETE", "/orders/regular/1")[0] == 404


@pytest.mark.parametrize(
    ("changes", "words", "cause"),
    [
        ({"tradingsymbol": "NIFTY99"}, "does not exist", "INVALID"),
        ({"quantity": 64}, "multiple of 65", "INVALID"),
        ({"quantity": 1820}, "freeze", "FREEZE"),
        ({"price": "50.03"}, "Tick size", "INVALID"),
        ({"order_type": "MARKET"}, "protection", "INVALID"),
        ({"order_type": "MARKET", "market_protection": 0}, "protection", "INVALID"),
        ({"order_type": "GUESS"}, "order_type", "INVALID"),
        ({"product": "CNC"}, "product", "INVALID"),
        ({"quantity": "ten"}, "quantity", "INVALID"),
        ({"price": "NaN"}, "price", "INVALID"),
        ({"tag": "x" * 21}, "tag", "INVALID"),
        ({"exchange": "NSE"}, "does not exist", "INVALID"),
    ],
)
def test_what_is_refused_never_becomes_an_order(
    simulator: DrivenSimulator, changes: dict[str, Any], words: str, cause: str
) -> None:
    status, body = simulator.kite_place(**changes)
    assert (status, body["status"], body["data"]) == (400, "error", None)
    assert words in body["message"]
    assert simulator.kite("GET", "/orders")[1]["data"] == []
    assert [row["cause"] for row in simulator.exchange.refused] == [cause]


def test_a_protected_market_order_becomes_a_limit(simulator: DrivenSimulator) -> None:
    ask = simulator.exchange.quote(simulator.atm()).ask
    assert simulator.kite_place(order_type="MARKET", price=0, market_protection=-1)[0] == 200
    simulator.forward(0.03)
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert (row["order_type"], row["status"]) == ("LIMIT", "COMPLETE")
    assert row["average_price"] == float(ask)
    assert row["tags"] == ["Q0001", "mktp", "mktp:-1.00"]
    assert Decimal(str(row["price"])) > ask


def test_too_far_from_the_market_is_rejected_later(simulator: DrivenSimulator) -> None:
    assert simulator.kite_place(price="5000.00")[0] == 200
    simulator.forward(0.03)
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert row["status"] == "REJECTED"
    assert "Limit Price Protection" in row["status_message"]
    assert simulator.exchange.book.orders[0].cause == "PRICE_BAND"


def test_without_money_the_order_is_rejected_later(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/funds", broker="zerodha", client_id="AB1234", funds="100.50")
    assert simulator.kite_place()[0] == 200
    simulator.forward(0.03)
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert row["status"] == "REJECTED"
    assert row["status_message"].startswith("Insufficient funds. Required margin is ")
    assert row["status_message_raw"].startswith("RMS:Margin Exceeds,Required:")
    assert simulator.kite("GET", "/user/margins")[1]["data"]["equity"]["net"] == 100.5


def test_closing_a_position_needs_no_money(simulator: DrivenSimulator) -> None:
    bid = simulator.exchange.quote(simulator.atm()).bid
    simulator.kite_place(transaction_type="SELL", price=bid)
    simulator.forward(0.03)
    assert simulator.kite("GET", "/user/margins")[1]["data"]["equity"]["utilised"]["span"] > 0
    simulator.control("POST", "/funds", broker="zerodha", client_id="AB1234", funds="0")
    simulator.kite_place()
    simulator.forward(0.03)
    net = simulator.kite("GET", "/portfolio/positions")[1]["data"]["net"]
    assert [row["quantity"] for row in net] == [0]


def test_the_eleventh_order_of_a_second_is_429(simulator: DrivenSimulator) -> None:
    statuses = [simulator.kite_place()[0] for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    assert simulator.kite_place("XY9876")[0] == 200
    simulator.forward(9)
    assert simulator.kite_place()[0] == 429  # ten seconds without any
    simulator.forward(1)
    assert simulator.kite_place()[0] == 200


def test_one_quote_request_a_second_for_each_login(simulator: DrivenSimulator) -> None:
    assert simulator.kite("GET", "/quote/ltp?i=NSE:NIFTY+50")[0] == 200
    status, answer = simulator.kite("GET", "/quote?i=NSE:NIFTY+50")
    assert (status, answer["message"]) == (429, "Too many requests")
    assert simulator.kite("GET", "/quote?i=NSE:NIFTY+50", "XY9876")[0] == 200
    assert simulator.kite("GET", "/orders")[0] == 200  # counted by itself
    simulator.forward(1)
    assert simulator.kite("GET", "/quote?i=NSE:NIFTY+50")[0] == 200


def test_the_401st_order_call_of_a_minute_is_429(simulator: DrivenSimulator) -> None:
    statuses = []
    for _ in range(401):
        statuses.append(simulator.kite_place()[0])
        simulator.forward(0.11)
    assert statuses == [200] * 400 + [429]


@pytest.mark.parametrize("wall", ["03:44:59", "10:10:00"])
def test_outside_the_session_nothing_is_accepted(wall: str) -> None:
    simulator = DrivenSimulator(now=dt.datetime.fromisoformat(f"2026-08-18T{wall}+00:00"))
    status, body = simulator.kite_place()
    assert status == 400
    assert "closed" in body["message"]


def test_on_a_closed_day_nothing_is_accepted() -> None:
    simulator = DrivenSimulator(Settings(facts=Facts(closed_days=frozenset({TEN_O_CLOCK.date()}))))
    contract = simulator.exchange.contracts.contracts[5]
    status, body = simulator.kite_place(tradingsymbol=contract.kite_symbol)
    assert (status, "closed" in body["message"]) == (400, True)


def test_a_dead_session_is_noted_with_its_client(simulator: DrivenSimulator) -> None:
    simulator.exchange.sessions.revoke(simulator.token("zerodha", "AB1234"))
    status, body = simulator.kite(
        "POST", "/orders/regular", tag="Q7", tradingsymbol="X", quantity=65
    )
    assert (status, body["error_type"]) == (403, "TokenException")
    (row,) = simulator.exchange.refused
    assert (row["client_id"], row["tag"], row["cause"]) == ("AB1234", "Q7", "SESSION_EXPIRED")


def test_other_varieties_are_refused(simulator: DrivenSimulator) -> None:
    for variety in ("amo", "bad"):
        assert simulator.kite("POST", f"/orders/{variety}", tag="Q1")[0] == 400


def test_a_book_belongs_to_its_day(simulator: DrivenSimulator) -> None:
    simulator.kite_place(product="NRML")
    simulator.kite_place()
    simulator.forward(0.03)
    simulator.now += dt.timedelta(days=1)
    simulator.tokens.clear()
    assert simulator.kite("GET", "/orders")[1]["data"] == []
    net = simulator.kite("GET", "/portfolio/positions")[1]["data"]["net"]
    assert [(row["quantity"], row["overnight_quantity"]) for row in net] == [(65, 65)]
    assert len(simulator.control("GET", "/book")[1]["orders"]) == 2


def test_the_close_cancels_what_rests(simulator: DrivenSimulator) -> None:
    simulator.kite_place(price=simulator.resting_price())
    simulator.forward(0.03)
    simulator.now = dt.datetime(2026, 8, 18, 10, 10, tzinfo=dt.UTC)
    simulator.exchange.tick()
    assert simulator.kite("GET", "/orders")[1]["data"][0]["status"] == "CANCELLED"


# -- market data ---------------------------------------------------------------------------------
def test_quotes(simulator: DrivenSimulator) -> None:
    symbol = simulator.atm().kite_symbol
    query = urlencode({"i": ["NSE:NIFTY 50", f"NFO:{symbol}", "NFO:NOSUCH"]}, doseq=True)
    data = simulator.kite("GET", f"/quote?{query}")[1]["data"]
    assert data.keys() == {"NSE:NIFTY 50", f"NFO:{symbol}"}
    row = data[f"NFO:{symbol}"]
    recorded = json.loads((DATA / "quote.json").read_text())["data"]["NSE:INFY"]
    assert recorded.keys() <= row.keys()
    assert row["timestamp"] == "2026-08-18 10:00:00"
    assert row["depth"]["buy"][0]["price"] < row["depth"]["sell"][0]["price"]
    simulator.forward(1)
    ltp = simulator.kite("GET", f"/quote/ltp?{query}")[1]["data"]
    assert ltp[f"NFO:{symbol}"].keys() == {"instrument_token", "last_price"}
    assert ltp["NSE:NIFTY 50"]["instrument_token"] == 256265
    simulator.forward(1)
    ohlc = simulator.kite("GET", f"/quote/ohlc?{query}")[1]["data"][f"NFO:{symbol}"]
    assert ohlc.keys() == {"instrument_token", "last_price", "ohlc"}


@pytest.mark.parametrize("name", ["NIFTY 50", "NIFTY BANK", "NIFTY FIN SERVICE"])
def test_every_index_has_a_quote(simulator: DrivenSimulator, name: str) -> None:
    key = f"NSE:{name}"
    data = simulator.kite("GET", f"/quote/ltp?{urlencode({'i': key})}")[1]["data"]
    assert data[key]["last_price"] > 1000


def test_a_change_obeys_the_rules_too(simulator: DrivenSimulator) -> None:
    price = simulator.resting_price()
    order_id = simulator.kite_place(price=price)[1]["data"]["order_id"]
    simulator.forward(0.03)
    path = f"/orders/regular/{order_id}"
    changes: tuple[dict[str, Any], ...] = (
        {"quantity": 64},
        {"price": "50.03"},
        {"order_type": "MARKET"},
    )
    for change in changes:
        assert simulator.kite("PUT", path, **change)[0] == 400
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert (row["status"], row["quantity"], row["price"]) == ("OPEN", 65, float(price))
    statuses = [simulator.kite("PUT", path, price=price)[0] for _ in range(10)]
    assert statuses[-1] == 429


def test_a_market_move_reaches_quotes_and_resting_orders(simulator: DrivenSimulator) -> None:
    limit = simulator.resting_price()
    simulator.kite_place(price=limit)
    simulator.forward(0.03)
    assert simulator.kite("GET", "/orders")[1]["data"][0]["status"] == "OPEN"
    simulator.control("POST", "/market", underlying="NIFTY", shift=-150)
    simulator.forward(0.2)
    simulator.exchange.tick()
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert row["status"] == "COMPLETE"
    assert row["average_price"] < float(limit)


def test_instruments_gzipped_and_plain(simulator: DrivenSimulator) -> None:
    plain = simulator.send(simulator.kite_wire, "GET", "/instruments/NFO")
    zipped = simulator.send(
        simulator.kite_wire, "GET", "/instruments/NFO", b"", {"Accept-Encoding": "gzip"}
    )
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    header = (DATA / "instruments_all.csv").read_text().splitlines()[0]
    assert plain.body.decode().splitlines()[0] == header
    assert simulator.send(simulator.kite_wire, "GET", "/instruments").body.startswith(
        plain.body[:100]
    )
    assert simulator.send(simulator.kite_wire, "GET", "/instruments/MOON").status == 400


def test_unknown_routes_answer_in_the_envelope(simulator: DrivenSimulator) -> None:
    assert simulator.kite("GET", "/portfolio/nothing")[0] == 404
    assert simulator.kite("PATCH", "/orders")[0] == 405
    assert simulator.kite("GET", "/orders/12345")[0] == 404
