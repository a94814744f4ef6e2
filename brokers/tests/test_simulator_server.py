"""The simulator over real sockets: what faults do to bytes, arrival times, bursts, the process."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import requests

from brokers.tests.driven_simulator import API_KEY
from brokers.tests.running import KITE_SYMBOL, NOREN_SYMBOL, Running

ROOT = Path(__file__).parents[2]
WIRE = Path(__file__).parent / "data" / "zerodha" / "kiteconnect-wire.jsonl"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _fresh(running: Running) -> None:
    running.control("POST", "/reset", sessions=True)


def place(running: Running, token: str, tag: str) -> requests.Response:
    form = {
        "exchange": "NFO",
        "tradingsymbol": KITE_SYMBOL,
        "transaction_type": "BUY",
        "quantity": 65,
        "product": "MIS",
        "order_type": "LIMIT",
        "price": running.ask(),
        "validity": "DAY",
        "tag": tag,
    }
    headers = {"Authorization": f"token {API_KEY}:{token}", "X-Kite-Version": "3"}
    return requests.post(
        f"{running.kite_url}/orders/regular", data=form, headers=headers, timeout=10
    )


def tags(running: Running) -> list[str]:
    return [order["tag"] for order in running.control("GET", "/book")["orders"]]


def noren_order(running: Running, client_id: str, token: str, tag: str) -> tuple[bytes, bytes]:
    """Head and body of a place call as a prepared sender would have them ready."""
    fields = {
        "uid": client_id,
        "actid": client_id,
        "exch": "NFO",
        "tsym": NOREN_SYMBOL,
        "qty": "65",
        "prc": running.ask(),
        "prd": "I",
        "trantype": "B",
        "prctyp": "LMT",
        "ret": "DAY",
        "remarks": tag,
    }
    body = b"jData=" + json.dumps(fields).encode()
    head = (
        "POST /NorenWClientAPI/PlaceOrder HTTP/1.1\r\nHost: broker\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def answer_of(connection: socket.socket) -> bytes:
    """One whole response off a kept-alive connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length is not None
    while len(body) < int(length[1]):
        body += connection.recv(65536)
    return body


# -- the official SDK's bytes --------------------------------------------------------------------
def test_the_official_sdks_requests_are_answered(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    rows = [json.loads(line) for line in WIRE.read_text().splitlines()]
    answers: dict[str, tuple[int, Any]] = {}
    for row in rows:
        headers = {**row["headers"]}
        if "Authorization" in headers:
            headers["Authorization"] = headers["Authorization"].replace(":AT", f":{token}")
        form = dict(parse_qsl(row["body"]))
        if "tradingsymbol" in form:
            form |= {"tradingsymbol": KITE_SYMBOL, "quantity": "65"}
        headers.pop("Content-Length", None)
        answer = requests.request(
            row["method"],
            running.kite_url + row["path"].replace("NIFTY2580724400CE", KITE_SYMBOL),
            data=urlencode(form),
            headers=headers,
            timeout=10,
        )
        kind = answer.headers["Content-Type"]
        answers[row["call"]] = (
            answer.status_code,
            answer.json() if kind == "application/json" else answer.text,
        )
    assert {call: status for call, (status, _) in answers.items()} == {
        "kite.generate_session": 403,  # the recorded code is not ours
        "kite.place": 200,
        "kite.autoslice": 200,
        "kite.token err": 400,  # variety "bad"
        "kite.margin err": 400,  # variety amo
        "kite.rate err": 400,  # variety iceberg
        "kite.modify": 404,
        "kite.cancel": 404,
        "kite.orders": 200,
        "kite.instruments": 200,
        "kite.ltp": 200,
        "kite.root with path": 403,  # no Authorization header
    }
    assert [row["tag"] for row in answers["kite.orders"][1]["data"]] == ["QL12345"] * 2
    assert set(answers["kite.ltp"][1]["data"]) == {"NSE:NIFTY 50", f"NFO:{KITE_SYMBOL}"}


# -- faults as bytes -----------------------------------------------------------------------------
@pytest.mark.parametrize("fault", [
    {"kind": "drop_after_accept"}, {"kind": "hide", "seconds": 1, "answer": "drop"},
], ids=str)  # fmt: skip
def test_accepted_but_no_answer(running: Running, fault: dict[str, Any]) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", **fault, count=1)
    with pytest.raises(requests.ConnectionError):
        place(running, token, "Q1")
    assert tags(running) == ["Q1"]
    assert place(running, token, "Q2").status_code == 200


@pytest.mark.parametrize("fault", [
    {"kind": "status_after_accept", "status": 504},
    {"kind": "hide", "seconds": 1, "answer": "status"},
], ids=str)  # fmt: skip
def test_accepted_but_a_gateway_page(running: Running, fault: dict[str, Any]) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", **fault, count=1)
    answer = place(running, token, "Q1")
    assert (answer.status_code, answer.headers["Content-Type"]) == (504, "text/html")
    assert answer.text.startswith("<html>")
    assert tags(running) == ["Q1"]


def test_accepted_but_half_an_answer(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", kind="truncated_json", count=1)
    answer = place(running, token, "Q1")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert tags(running) == ["Q1"]


def test_refused_without_an_answer(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", kind="refuse", count=1)
    with pytest.raises(requests.ConnectionError):
        place(running, token, "Q1")
    assert tags(running) == []


def test_refused_by_the_gateway(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", kind="html_502", count=1)
    answer = place(running, token, "Q1")
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert tags(running) == []


def test_a_late_answer_is_to_an_order_that_exists_meanwhile(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    running.control("POST", "/faults", kind="delay", seconds=0.5, count=1)
    answers: list[requests.Response] = []
    sender = threading.Thread(target=lambda: answers.append(place(running, token, "Q1")))
    sender.start()
    while not tags(running):
        time.sleep(0.01)
    assert answers == []
    sender.join(10)
    assert answers[0].status_code == 200


def test_an_order_fills_within_moments(running: Running) -> None:
    token = running.token("zerodha", "AB1234")
    assert place(running, token, "Q1").json()["status"] == "success"
    deadline = time.monotonic() + 10
    while running.control("GET", "/book")["orders"][0]["status"] != "COMPLETE":
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- arrival times and bursts --------------------------------------------------------------------
def test_an_order_arrives_with_its_first_byte(running: Running) -> None:
    token = running.token("zebu", "Z1")
    head, body = noren_order(running, "Z1", token, "Q1")
    port = running.simulator.ports.noren
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for tag in ("Q1", "Q2"):  # the second on the same, kept-alive connection
            before = running.now()
            connection.sendall(head)
            running.control("GET", "/health")  # the loop has turned: the head was seen
            between = running.now()
            connection.sendall(body.replace(b"Q1", tag.encode()))
            assert json.loads(answer_of(connection))["stat"] == "Ok"
            order = running.control("GET", "/book")["orders"][-1]
            received_at = dt.datetime.fromisoformat(order["received_at"])
            assert order["tag"] == tag
            assert before <= received_at <= between


def test_a_burst_is_taken_whole_and_once(running: Running) -> None:
    count = 200
    prepared = []
    for n in range(count):
        token = running.token("zebu", f"Z{n}")
        prepared.append(b"".join(noren_order(running, f"Z{n}", token, f"Q{n:04}")))
    port = running.simulator.ports.noren
    connections = [socket.create_connection(("127.0.0.1", port), 20) for _ in prepared]
    begin = running.now()
    for connection, message in zip(connections, prepared, strict=True):
        connection.sendall(message)
    numbers = {json.loads(answer_of(connection))["norenordno"] for connection in connections}
    for connection in connections:
        connection.close()
    orders = running.control("GET", "/book")["orders"]
    assert sorted(order["tag"] for order in orders) == [f"Q{n:04}" for n in range(count)]
    assert {order["order_id"] for order in orders} == numbers
    assert min(dt.datetime.fromisoformat(o["received_at"]) for o in orders) >= begin


# -- the process ---------------------------------------------------------------------------------
@pytest.mark.process
def test_the_process_runs_without_django_and_stops_when_told() -> None:
    program = (
        "import sys; from brokers.simulator.server import main;"
        "assert 'django.db.models' not in sys.modules; main()"
    )
    ports = ["--control-port", "0", "--kite-port", "0", "--noren-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *ports, "--closed-days", "2026-08-25,2026-09-01"],
        cwd=ROOT,
        env=os.environ | {"QUANTLEAP_CLOCK_START": "2026-08-18T09:16:00+05:30"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"control (http://127\.0\.0\.1:\d+) ", line)
        assert match is not None, line
        health = requests.get(f"{match[1]}/health", timeout=10).json()
        assert health["date"] == "2026-08-18"
        assert health["market_open"] is True
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()
