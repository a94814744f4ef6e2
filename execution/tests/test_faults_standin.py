"""What the stand-in's shell does to calls, on real sockets and in both dialects."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests

from brokers.simulator.wire import Answer, to_json
from execution.tests.faults import tricks
from execution.tests.faults.ground import moved_clock, standin
from execution.tests.faults.tricks import Kind, Trick, TrickError
from execution.tests.installation import API_KEY, Control

CLIENT = "AB1234"


class Broker:
    """A client of the stand-in that speaks Kite and Noren by hand."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports
        self.control = Control(f"http://127.0.0.1:{ports['control']}")
        self.tokens = {b: self.control.token(b, CLIENT) for b in ("zerodha", "zebu")}
        listed = requests.get(self.url("zerodha", "/instruments/NFO"), timeout=20).text
        (self.symbol,) = re.findall(r",(NIFTY26908\d{5}CE),NIFTY,", listed)[40:41]

    def url(self, broker: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[broker]}{path}"

    def kite(self, method: str, path: str, **fields: Any) -> requests.Response:
        headers = {"Authorization": f"token {API_KEY}:{self.tokens['zerodha']}"}
        url = self.url("zerodha", path)
        return requests.request(method, url, headers=headers, data=fields or None, timeout=20)

    def noren(self, operation: str, **fields: str) -> requests.Response:
        payload = json.dumps({"uid": CLIENT, "actid": CLIENT} | fields)
        headers = {"Authorization": f"Bearer {self.tokens['zebu']}"}
        url = self.url("zebu", f"/NorenWClientAPI/{operation}")
        return requests.post(url, headers=headers, data=f"jData={payload}", timeout=20)

    def buy(self, price: str = "") -> requests.Response:
        """One lot, far through the market unless ``price`` says otherwise."""
        last = self.kite("GET", f"/quote?i=NFO:{self.symbol}").json()
        ask = last["data"][f"NFO:{self.symbol}"]["depth"]["sell"][0]["price"]
        return self.kite(
            "POST",
            "/orders/regular",
            tradingsymbol=self.symbol,
            exchange="NFO",
            transaction_type="BUY",
            quantity=65,
            product="MIS",
            order_type="LIMIT",
            validity="DAY",
            price=price or f"{ask + 1:.2f}",
            tag="QAAAAAAAAAAAA1",
        )

    def trick(self, kind: str, *ops: str, **params: Any) -> None:
        self.control.ask("POST", "/tricks", kind=kind, ops=list(ops), clients=[CLIENT], **params)

    def raw(self, path: str) -> bytes:
        """Every byte that comes for a GET at Kite's, until the end."""
        with socket.create_connection(
            ("127.0.0.1", self.ports["zerodha"]), timeout=10
        ) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                f"Authorization: token {API_KEY}:{self.tokens['zerodha']}\r\n\r\n".encode()
            )
            received = b""
            while part := connection.recv(65536):
                received += part
        return received


#: The tests ask as fast as they can.
UNLIMITED: Final = ["kite_quotes_per_second=0", "kite_reads_per_second=0"]


@pytest.fixture(scope="module")
def running() -> Iterator[Broker]:
    with moved_clock() as environment, standin(environment, UNLIMITED) as ports:
        client = Broker(ports)
        yield client
        client.control.close()


@pytest.fixture
def broker(running: Broker) -> Iterator[Broker]:
    yield running
    running.control.ask("DELETE", "/tricks")
    running.control.ask("POST", "/reset")


def test_a_call_is_done_and_answered_with_something_else(broker: Broker) -> None:
    broker.trick("answer", "place", status=504, body="<html>", after=True)
    assert broker.buy().status_code == 504
    assert len(broker.control.orders()) == 1
    broker.control.ask("DELETE", "/tricks")
    broker.trick("answer", "place", status=504, body="<html>")
    assert broker.buy().status_code == 504
    assert len(broker.control.orders()) == 1, "not done this time"


def test_a_change_is_answered_as_done_and_is_not(broker: Broker) -> None:
    order_id = broker.buy(price="1.00").json()["data"]["order_id"]
    broker.trick("idle", "modify")
    path = f"/orders/regular/{order_id}"
    kite = broker.kite("PUT", path, price="2.00", order_type="LIMIT").json()
    assert kite == {"status": "success", "data": {"order_id": order_id}}
    noren = broker.noren("ModifyOrder", norenordno="26090800000001", prc="2.00").json()
    assert noren == {"stat": "Ok", "result": "26090800000001"}
    (row,) = broker.kite("GET", "/orders").json()["data"]
    assert row["price"] == 1


def test_an_order_fills_just_before_its_change(broker: Broker) -> None:
    match = {"client_id": CLIENT}
    broker.control.ask("POST", "/faults", kind="partial_fill", fraction=0, match=match)
    order_id = broker.buy().json()["data"]["order_id"]
    while broker.kite("GET", "/orders").json()["data"][0]["status"] != "OPEN":
        pass
    broker.trick("fills", "modify", fraction=1)
    path = f"/orders/regular/{order_id}"
    refused = broker.kite("PUT", path, price="500.00", order_type="LIMIT")
    assert refused.status_code == 400
    (row,) = broker.kite("GET", "/orders").json()["data"]
    assert (row["status"], row["filled_quantity"]) == ("COMPLETE", 65)


def test_too_many_requests_in_each_dialect(broker: Broker) -> None:
    broker.trick("busy", "book", seconds=60, retry_after=3)
    kite, noren = broker.kite("GET", "/orders"), broker.noren("OrderBook")
    assert (kite.status_code, kite.headers["Retry-After"]) == (429, "3")
    assert (noren.status_code, noren.json()["stat"]) == (400, "Not_Ok")
    assert broker.kite("GET", "/portfolio/positions").status_code == 200, "reads of books only"


def test_positions_lag_behind_the_fills(broker: Broker) -> None:
    broker.trick("stale", "positions", seconds=30)
    assert broker.buy().status_code == 200
    while broker.kite("GET", "/orders").json()["data"][0]["status"] != "COMPLETE":
        pass
    assert broker.kite("GET", "/portfolio/positions").json()["data"]["net"] == []
    broker.control.ask("DELETE", "/tricks")
    (row,) = broker.kite("GET", "/portfolio/positions").json()["data"]["net"]
    assert row["quantity"] == 65


def test_a_price_outside_of_the_band_is_refused_by_name(broker: Broker) -> None:
    broker.trick("band", "place", percent=1)
    assert broker.buy(price="0.05").status_code == 200, "the exchange refuses it, later"
    while not (row := broker.kite("GET", "/orders").json()["data"][0])["status_message"]:
        pass
    assert row["status"] == "REJECTED"
    assert len(re.findall(r"\d+\.\d\d", row["status_message"])) == 2, "low and high"


@pytest.mark.parametrize(
    ("kind", "begins", "answers"),
    [
        ("interim", rb"HTTP/1.1 103 Early Hints\r\n", 2),
        ("twin", rb"HTTP/1.1 200 OK\r\n", 2),
        ("pieces", rb"HTTP/1.1 200 OK\r\n", 1),
    ],
    ids=["interim", "twin", "pieces"],
)
def test_answers_are_delivered_badly(
    broker: Broker, kind: str, begins: bytes, answers: int
) -> None:
    broker.trick(kind, "book")
    received = broker.raw("/orders")
    assert re.match(begins, received)
    assert received.count(b"HTTP/1.1 ") == answers
    assert received.endswith(b"}")


def test_a_trick_is_for_its_clients_and_counted(broker: Broker) -> None:
    broker.control.ask(
        "POST", "/tricks", kind="answer", ops=["book"], clients=["SOMEBODY"], status=500
    )
    assert broker.noren("OrderBook").json()["emsg"].endswith('"no data"')
    assert broker.kite("GET", "/portfolio/positions").status_code == 200
    calls = broker.control.ask("GET", "/calls")["calls"]
    (row,) = [c for c in calls if (c["client_id"], c["op"]) == (CLIENT, "positions")]
    assert row["count"] >= 1
    mistake = requests.post(f"{broker.control.url}/tricks", json={"kind": "magic"}, timeout=5)
    assert (mistake.status_code, "kind" in mistake.json()["error"]) == (400, True)


# -- pure ------------------------------------------------------------------------------------------
def busy(seconds: float = 8, count: int | None = None) -> Trick:
    return Trick(Kind.BUSY, frozenset({"place"}), frozenset({"C1"}), {"seconds": seconds}, count)


@pytest.mark.parametrize(
    ("calls", "struck"),
    [
        ([("place", "C1", 0), ("place", "C1", 7.9), ("place", "C1", 8.0)], [True, True, False]),
        ([("book", "C1", 0), ("place", "C2", 0), ("place", "C1", 0)], [False, False, True]),
    ],
    ids=["from the first call on", "operation and client"],
)
def test_who_is_struck(calls: list[tuple[str, str, float]], struck: list[bool]) -> None:
    trick = busy()
    assert [trick.takes(*call) for call in calls] == struck


def test_a_count_is_kept() -> None:
    trick = busy(count=2)
    assert [trick.takes("place", "C1", 0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("wrap", [lambda rows: {"data": rows}, list], ids=["kite", "noren"])
def test_books_grow_and_are_edited(wrap: Callable[[list[Any]], Any]) -> None:
    row = {"order_id": "1", "status": "COMPLETE", "tag": "Q1", "average_price": 10}
    answer = Answer(200, to_json(wrap([row])))
    edited = json.loads(tricks.edited(answer, "average_price", 1e8).body)
    assert edited == wrap([row | {"average_price": 1e8}])
    big = tricks.bulky(answer, 0.1).body
    assert 90_000 < len(big) < 130_000
    rows = json.loads(big)
    rows = rows["data"] if isinstance(rows, dict) else rows
    assert rows[0] == row, "ours is as it was"
    assert {(r["tag"], r["status"]) for r in rows[1:]} == {("", "REJECTED")}
    assert tricks.edited(Answer(502, b"<html>"), "x", 1).body == b"<html>"


@pytest.mark.parametrize(
    "said", [{}, {"kind": "busy"}, {"kind": "busy", "ops": ["everything"]}], ids=["", "no", "bad"]
)
def test_a_trick_that_cannot_be_understood_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(TrickError):
        tricks.understood(said)
