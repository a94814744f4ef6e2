"""The witness: what it stamps, what it answers, and that it reads requests in pieces."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import aiohttp
import pytest
import requests

from bench import orders
from bench.sink import Sink
from brokers.base import BookState, BrokerInstrument, HttpResponse, Outcome, Session
from brokers.zerodha.adapter import ZerodhaAdapter
from brokers.zerodha.order_stream import KiteUpdates
from quantleap.embedded.processes import is_alive, wait_until


@pytest.fixture
def sink() -> Iterator[Sink]:
    served = Sink(0)
    thread = threading.Thread(target=served.serve)
    thread.start()
    yield served
    served.stop()
    thread.join(10)


def url(sink: Sink, path: str) -> str:
    return f"http://127.0.0.1:{sink.port}{path}"


def ask(sink: Sink, path: str, account: str = "one") -> HttpResponse:
    answer = requests.get(url(sink, path), headers=orders.headers(account), timeout=5)
    return HttpResponse(answer.status_code, {}, answer.content)


def place(sink: Sink, account: str, number: int) -> HttpResponse:
    answer = requests.post(
        url(sink, orders.PATH),
        data=orders.form(number),
        headers=orders.headers(account),
        timeout=5,
    )
    return HttpResponse(answer.status_code, {}, answer.content)


def test_it_speaks_enough_kite_for_the_adapter(sink: Sink) -> None:
    adapter = ZerodhaAdapter()
    result = adapter.parse_place(place(sink, "one", 1))
    place(sink, "two", 2)
    assert result.outcome is Outcome.ACCEPTED
    [report] = adapter.parse_order_book(ask(sink, "/orders")).orders
    assert report.broker_order_id == result.broker_order_id
    assert report.state is BookState.FILLED
    assert report.tag == orders.form(1)["tag"]
    [position] = adapter.parse_positions(ask(sink, "/portfolio/positions")).positions
    assert position.quantity == -65
    assert adapter.parse_order_book(ask(sink, "/orders", "three")).orders == ()


def test_quotes_are_fresh(sink: Sink) -> None:
    names = {
        "spot": BrokerInstrument("NSE", "NIFTY 50", "1"),
        "leg": BrokerInstrument("NFO", "X", "2"),
    }
    read = ZerodhaAdapter().parse_quotes(
        ask(sink, "/quote?i=NSE:NIFTY+50&i=NFO:X"), list(names), names
    )
    assert read.ok
    assert set(read.quotes) == set(names)
    assert abs(read.quotes["leg"].at.timestamp() - time.time()) < 2


def test_the_first_byte_counts(sink: Sink) -> None:
    raw = orders.raw("127.0.0.1", "one", 7)
    with socket.create_connection(("127.0.0.1", sink.port)) as connection:
        before = time.time()
        connection.sendall(raw[:40])
        assert wait_until(lambda: any(peer.buffer for peer in sink.peers()), 10)
        between = time.time()
        connection.sendall(raw[40:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
    [arrival] = requests.get(url(sink, "/bench/arrivals"), timeout=5).json()
    # One clock, but the kernel may read it a tick coarser than time.time().
    assert before - 0.01 <= arrival["at"] <= between
    assert arrival["read_at"] <= between
    assert (arrival["account"], arrival["tag"]) == ("one", orders.form(7)["tag"])


def test_it_tells_of_fills_whoever_listens() -> None:
    """As our own stream hears it, pings and all."""
    served = Sink(0, answer_after=0.05, updates=True)
    thread = threading.Thread(target=served.serve)
    thread.start()

    async def main() -> tuple[list[str], bytes]:
        kite = KiteUpdates()
        async with aiohttp.ClientSession() as client:
            session = Session("C1", "apikey", "one")
            socket = await client.ws_connect(url(served, kite.path(session)), autoping=False)
            await socket.ping(b"are you there?")
            pong = await socket.receive(timeout=5)
            await asyncio.to_thread(place, served, "two", 1)
            await asyncio.to_thread(place, served, "one", 2)
            said = kite.read(await socket.receive_str(timeout=5), session)
            assert said.order is not None
            assert said.order.state is BookState.FILLED
            return [said.order.tag], pong.data

    try:
        assert asyncio.run(main()) == ([orders.form(2)["tag"]], b"are you there?")
    finally:
        served.stop()
        thread.join(10)


def test_it_counts_and_forgets(sink: Sink) -> None:
    place(sink, "one", 1)
    requests.post(url(sink, "/bench/ready"), timeout=5)
    count = requests.get(url(sink, "/bench/count"), timeout=5)
    assert count.json() == {"orders": 1, "ready": 1}
    requests.post(url(sink, "/bench/reset"), timeout=5)
    assert requests.get(url(sink, "/bench/arrivals"), timeout=5).json() == []
    assert requests.get(url(sink, "/nothing"), timeout=5).status_code == 404


STARTS_ONE = """
import subprocess, sys, time
command = [sys.executable, "-m", "bench.sink", *sys.argv[1:]]
sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
sink.stdout.readline()
print(sink.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.process
@pytest.mark.parametrize(("options", "ends"), [(("--with-parent",), True), ((), False)])
def test_a_killed_benchmark_leaves_no_witness_behind(options: tuple[str, ...], ends: bool) -> None:
    """The second case is the control: what is not tied to its parent lives on."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE, *options], stdout=subprocess.PIPE, text=True
    ) as benchmark:
        assert benchmark.stdout is not None
        witness = int(benchmark.stdout.readline())
        benchmark.kill()
    try:
        if ends:
            wait_until(lambda: not is_alive(witness), 10)
        assert is_alive(witness) is not ends
    finally:
        if is_alive(witness):
            os.kill(witness, signal.SIGKILL)
