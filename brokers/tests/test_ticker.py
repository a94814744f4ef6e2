"""Kite's binary packets: as documented, as the simulator sends them, cut short, and hostile."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import struct
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from django.conf import LazySettings
from hypothesis import example, given
from hypothesis import strategies as st

from brokers import sealed_credentials
from brokers.base import BrokerInstrument, HttpResponse, Session
from brokers.feed import FeedQuotes
from brokers.feed_loop import feed_loop
from brokers.models import FeedAccount
from brokers.price_updates import Touchline, get_prices
from brokers.registry import get_adapter
from brokers.simulator.kite_stream import MOST, packet, paise
from brokers.tests.driven_simulator import TEN_O_CLOCK, DrivenSimulator
from brokers.tests.factories import make_feed
from brokers.tests.listening import heard_until, near_the_money
from brokers.tests.running import Running
from brokers.zerodha import ticker
from marketplace.ports import Need
from quantleap.core import clock

KITE = ticker.KitePrices()
NFO_TOKEN = 54957 * 256 + 2
AT = dt.datetime(2026, 9, 8, 4, 30, tzinfo=dt.UTC)
SECONDS = int(AT.timestamp())
#: As somebody received it from Kite: an index in quote mode, NIFTY 50 at 9,126.85.
#: https://kite.trade/forum/discussion/comment/5126/
INDEX = bytes.fromhex(
    "0001001c0003e909000ded2d000dfd18000de90e000dfcd7000ded2dffffffdc".replace(" ", "")
)


def full(token: int = NFO_TOKEN, last: int = 8400, bid: int = 8390, ask: int = 8405) -> bytes:
    """A whole packet of 184 bytes, in the order of the documented fields."""
    head = struct.pack(">I10i", token, last, 65, 8395, 1000, 500, 400, 8000, 8500, 7900, 8100)
    times = struct.pack(">5i", SECONDS - 7, 12, 13, 11, SECONDS)
    level = struct.Struct(">iihxx")
    buyers = b"".join(level.pack(65, bid - 5 * k, 3) for k in range(5))
    sellers = b"".join(level.pack(65, ask + 5 * k, 3) for k in range(5))
    return head + times + buyers + sellers


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(
        struct.pack(">H", len(part)) + part for part in packets
    )


def read(data: bytes, *known: Touchline) -> list[Touchline]:
    said = KITE.read(data, {line.name: line for line in known})
    assert isinstance(said, list)
    return said


def test_what_is_said() -> None:
    session = Session("AB1234", "key&", "to=ken")
    assert KITE.path(session) == "/?api_key=key%26&access_token=to%3Dken"
    names = [BrokerInstrument("NFO", "", str(n)) for n in range(501)]
    frames = [json.loads(text) for text in KITE.subscribe(names)]
    assert [message["a"] for message in frames] == ["subscribe", "mode", "subscribe", "mode"]
    assert frames[1]["v"][0] == "full"
    assert sum(len(message["v"]) for message in frames[::2]) == 501
    ended = json.loads(next(KITE.unsubscribe(names[:1])))
    assert ended == {"a": "unsubscribe", "v": [0]}
    assert list(KITE.subscribe([BrokerInstrument("NFO", "", "1;drop")])) == []


def test_a_whole_packet_has_both_ages() -> None:
    packed = full()
    assert len(packed) == 184
    (line,) = read(frame(packed))
    assert line == Touchline(
        "",
        str(NFO_TOKEN),
        last=Decimal("84.00"),
        bid=Decimal("83.90"),
        ask=Decimal("84.05"),
        at=AT,
        traded_at=AT - dt.timedelta(seconds=7),
    )


def test_an_index_as_it_was_received_from_kite() -> None:
    (line,) = read(INDEX)
    assert (line.name, line.last, line.at) == (("", "256265"), Decimal("9126.85"), None)
    timed = INDEX[4:] + struct.pack(">i", SECONDS)
    (timed_line,) = read(frame(timed))
    assert (timed_line.at, timed_line.traded_at) == (AT, AT)


def test_a_price_without_a_time_is_as_old_as_what_was_known() -> None:
    (known,) = read(frame(full()))
    (line,) = read(frame(struct.pack(">Ii", NFO_TOKEN, 8500)), known)
    assert (line.last, line.bid, line.at) == (Decimal(85), known.bid, known.at)
    assert line.traded_at is None
    quoted = struct.pack(">I10i", NFO_TOKEN, 8400, *[1] * 9)
    assert read(frame(quoted), known) == [known]


def test_nobody_on_one_side_and_no_last_price() -> None:
    (line,) = read(frame(full(bid=0)))
    assert (line.bid, line.ask) == (None, Decimal("84.05"))
    assert read(frame(full(last=0))) == []
    assert read(frame(full(last=-5))) == []
    currency = NFO_TOKEN + 1  # segment 3: other decimals, none of ours
    assert read(frame(full(currency))) == []


def test_a_frame_that_was_cut_keeps_what_is_whole() -> None:
    whole = frame(full(), full(NFO_TOKEN + 256))
    assert len(read(whole)) == 2
    assert len(read(whole[:-1])) == 1
    assert read(whole[:100]) == []
    assert read(b"\x00") == []
    assert KITE.read('{"type":"order"}', {}) == ()


@given(
    st.binary(max_size=400) | st.lists(st.binary(max_size=190), max_size=4).map(lambda p: frame(*p))
)
@example(b"\xff\xff" * 50)
@example(frame(b"\xff" * 184, b"\x80" * 44, b"\x7f" * 32))
def test_no_frame_raises_or_makes_a_price_of_nonsense(data: bytes) -> None:
    known = Touchline("", str(NFO_TOKEN), last=Decimal(5), at=AT)
    for line in read(data, known):
        prices = [price for price in (line.last, line.bid, line.ask) if price is not None]
        assert all(price.is_finite() and 0 < price <= 500_000 for price in prices)
        assert line.last is not None


# -- the simulator -------------------------------------------------------------------------------
def test_the_simulators_packets_say_what_its_quote_calls_say() -> None:
    simulator = DrivenSimulator()
    exchange, contract = simulator.exchange, simulator.atm()
    adapter = get_adapter("zerodha")
    for name in (
        BrokerInstrument("NFO", contract.kite_symbol, str(contract.kite_token)),
        BrokerInstrument("NSE", "NIFTY 50", "256265"),
    ):
        packed = packet(exchange, int(name.token), "full")  # at the same tick
        assert packed is not None
        (line,) = read(frame(packed))
        ((keys, request),) = adapter.quotes(Session("AB1234", "apikey", "x"), {"k": name})
        status, body = simulator.kite(request.method, request.path)
        assert status == 200
        simulator.forward(1)  # one quote call a second
        answer = HttpResponse(200, {}, json.dumps(body).encode())
        row = adapter.parse_quotes(answer, keys, {"k": name}).quotes["k"]
        assert (line.last, line.bid, line.ask) == (row.last_price, row.bid, row.ask)
        assert (line.at, line.traded_at) == (row.at, row.traded_at)


def test_an_index_between_two_paise_is_rounded_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rupees by float: 24800.005 * 100 is rounded to 2480000, and the quote call said .01."""
    simulator = DrivenSimulator()
    adapter = get_adapter("zerodha")
    index = BrokerInstrument("NSE", "NIFTY 50", "256265")
    ((keys, request),) = adapter.quotes(Session("AB1234", "apikey", "x"), {"k": index})
    for level in (24800.005, 24800.015, 24800.025):
        monkeypatch.setattr(simulator.exchange.market, "spot", lambda name, t, now=level: now)
        packed = packet(simulator.exchange, int(index.token), "ltp")
        assert packed is not None
        (line,) = read(frame(packed))
        _, body = simulator.kite(request.method, request.path)
        simulator.forward(1)  # one quote call a second
        answer = HttpResponse(200, {}, json.dumps(body).encode())
        row = adapter.parse_quotes(answer, keys, {"k": index}).quotes["k"]
        assert line.last == row.last_price == Decimal(str(round(level, 2)))


def test_every_tick_is_its_paise_to_the_last() -> None:
    for tick in (Decimal("0.05"), Decimal("0.10"), Decimal("0.20")):
        in_paise = int(tick * 100)
        assert all(paise(tick * count) == in_paise * count for count in range(50_000))


@given(st.integers(0, 2**31 - 1))
def test_whatever_a_packet_can_hold_is_exact(whole: int) -> None:
    assert paise(Decimal(whole).scaleb(-2)) == whole


@pytest.fixture
def running() -> Iterator[Running]:
    server = Running()
    yield server
    server.stop()


def test_no_login_and_a_fourth_connection_are_refused(running: Running) -> None:
    token = running.token("zerodha", "AB1234")

    async def main() -> list[int]:
        said: list[int] = []
        sockets: list[aiohttp.ClientWebSocketResponse] = []  # kept, else they are closed
        async with aiohttp.ClientSession() as client:
            for session in (
                Session("AB1234", "apikey", "wrong"),
                Session("AB1234", "other", token),
                *[Session("AB1234", "apikey", token)] * 4,
            ):
                url = running.kite_url + KITE.path(session)
                try:
                    sockets.append(await client.ws_connect(url))
                    said.append(101)
                except aiohttp.WSServerHandshakeError as error:
                    said.append(error.status)
        assert len(sockets) == 3
        return said

    assert asyncio.run(main()) == [403, 403, 101, 101, 101, 429]


def test_modes_heartbeats_and_the_most_a_connection_carries(running: Running) -> None:
    exchange = running.simulator.exchange
    stream = running.simulator._kite_stream
    modes: dict[int, str] = {}
    stream._handle({"a": "subscribe", "v": list(range(MOST + 5))}, modes)
    assert len(modes) == MOST
    for said in ({"a": "mode", "v": ["all", [1]]}, {"a": "mode", "v": 3}, {"v": [1]}, {}):
        stream._handle(said, modes)
    assert set(modes.values()) == {"quote"}
    stream._handle({"a": "mode", "v": ["ltp", [1, -7]]}, modes)
    assert modes[1] == "ltp"
    stream._handle({"a": "unsubscribe", "v": [1, "x"]}, modes)
    assert 1 not in modes
    assert packet(exchange, 1, "full") is None
    assert len(packet(exchange, 256265, "ltp") or b"") == 8
    assert len(packet(exchange, 256265, "quote") or b"") == 28


# -- a feed --------------------------------------------------------------------------------------
@pytest.fixture
def kite_feed(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, running: Running
) -> FeedAccount:
    monkeypatch.setattr(clock, "_offset", TEN_O_CLOCK.timestamp() - time.time())
    url = running.kite_url
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": url, "login": url, "instruments": ""}}
    login = running.simulator.exchange.sessions.open("zerodha", "quotes", "K1", running.now())
    feed = make_feed("kite", "zerodha", client_id="K1", now=running.now())
    feed.api_key = sealed_credentials.seal(feed, "api_key", "quotes")
    feed.access_token = sealed_credentials.seal(feed, "access_token", login.token)
    feed.save()
    return feed


def contracts_of(running: Running, count: int) -> list[int]:
    """Near the money, under Kite's tokens."""
    from marketplace.models import Contract

    contract_ids = near_the_money(running, count)
    listed = running.simulator.exchange.contracts.by_kite_symbol
    for contract in Contract.objects.filter(id__in=contract_ids):
        name = contract.broker_names.get(broker="zerodha")
        contract.broker_names.filter(pk=name.pk).update(token=str(listed[name.symbol].kite_token))
    return contract_ids


def line_of(running: Running) -> Any:
    (line,) = [
        line
        for line in feed_loop().lines.values()
        if line.feed.base_url.endswith(str(running.simulator.ports.kite))
    ]
    return line


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_a_kite_feed_asked_once_a_second_is_told_five_times(
    kite_feed: FeedAccount, running: Running
) -> None:
    """160 legs and their indices, priced by the websocket: not one call, no limit broken."""
    contracts = contracts_of(running, 160)
    quotes = heard_until(contracts, dt.timedelta(seconds=2))
    assert len(quotes) == 160
    assert all(quote.bid and quote.ask and quote.traded_at for quote in quotes.values())
    market = FeedQuotes().read(["NIFTY"], contracts, now=clock.now(), need=Need.TRADE)
    assert market.trouble == ""
    assert market.spots["NIFTY"].traded_at == market.spots["NIFTY"].at
    line = line_of(running)
    assert len(line.stream.touchlines) == 161
    assert running.simulator.exchange.gate.refused["zerodha", "K1"] == 0


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_prices_of_a_kite_feed_go_on_when_its_websocket_is_cut(
    kite_feed: FeedAccount, running: Running
) -> None:
    contracts = contracts_of(running, 4)
    heard_until(contracts, dt.timedelta(seconds=1))
    running._do(running.simulator._kite_stream.close())
    heard_until(contracts, dt.timedelta(seconds=2))
    until = time.monotonic() + 20
    while not line_of(running).stream.is_open:
        assert time.monotonic() < until
        heard_until(contracts, dt.timedelta(0))
    assert running.simulator.exchange.gate.refused["zerodha", "K1"] == 0


def test_who_speaks() -> None:
    assert {kind for kind in ("zebu", "zerodha", "paper") if get_prices(kind)} == {
        "zebu",
        "zerodha",
    }
