"""Noren's websocket: frames as documented, hostile ones, and a connection that dies."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from brokers import sealed_credentials
from brokers.base import BrokerInstrument, Session
from brokers.feed_loop import feed_loop
from brokers.price_updates import LoggedIn, Touchline
from brokers.tests.driven_simulator import TEN_O_CLOCK
from brokers.tests.factories import make_feed
from brokers.tests.listening import heard_until, near_the_money
from brokers.tests.running import Running
from brokers.zebu import touchline
from quantleap.core import clock

SESSION = Session(client_id="Z56004", api_key="k", access_token="tok")
NIFTY = BrokerInstrument("NSE", "Nifty 50", "26000")
#: As documented: https://github.com/Shoonya-Dev/ShoonyaApi-py, Subscribe Touchline.
WHOLE = (
    '{"t":"tk","e":"NFO","tk":"54957","ts":"NIFTY28JUL22C16600","pp":"2","ls":"50","ti":"0.05",'
    '"c":"42.20","lp":"84.00","bp1":"83.90","sp1":"84.05","pc":"99.05","ft":"1658911102"}'
)
AT = dt.datetime.fromtimestamp(1658911102, dt.UTC)


def test_what_is_said() -> None:
    assert json.loads(touchline.login(SESSION)) == {
        "t": "a",
        "uid": "Z56004",
        "actid": "Z56004",
        "source": "API",
        "accesstoken": "tok",
    }
    names = [NIFTY] + [BrokerInstrument("NFO", "", str(n)) for n in range(60)]
    first, second = map(json.loads, touchline.subscribe(names))
    assert (first["t"], first["k"].split("#")[:2]) == ("t", ["NSE|26000", "NFO|0"])
    assert len(second["k"].split("#")) == 11
    assert json.loads(next(touchline.unsubscribe([NIFTY]))) == {"t": "u", "k": "NSE|26000"}


def test_a_whole_touchline_and_what_changes_of_it() -> None:
    whole = touchline.read(WHOLE, {})
    assert isinstance(whole, Touchline)
    assert (whole.last, whole.bid, whole.ask, whole.at) == (
        Decimal("84.00"),
        Decimal("83.90"),
        Decimal("84.05"),
        AT,
    )
    assert whole.traded_at is None  # nobody said when
    book = '{"t":"tf","e":"NFO","tk":"54957","bp1":"83.95","ft":"1658911103"}'
    changed = touchline.read(book, {whole.name: whole})
    assert isinstance(changed, Touchline)
    assert (changed.last, changed.bid, changed.ask) == (whole.last, Decimal("83.95"), whole.ask)
    assert (changed.at, changed.traded_at) == (AT + dt.timedelta(seconds=1), None)
    trade = '{"t":"tf","e":"NFO","tk":"54957","lp":"84.10","ft":"1658911104"}'
    traded = touchline.read(trade, {changed.name: changed})
    assert isinstance(traded, Touchline)
    assert (traded.last, traded.traded_at) == (Decimal("84.10"), AT + dt.timedelta(seconds=2))
    emptied = '{"t":"tf","e":"NFO","tk":"54957","bp1":"0.00","lp":"","ft":"1658911105"}'
    nobody = touchline.read(emptied, {traded.name: traded})
    assert isinstance(nobody, Touchline)
    assert (nobody.bid, nobody.last) == (None, traded.last)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"t":"ak","uid":"Z56004","s":"OK"}', LoggedIn(True, "OK")),
        ('{"t":"ck","s":"Ok"}', LoggedIn(True, "Ok")),
        ('{"t":"ak","s":"NOT_OK","emsg":"Session Expired"}', LoggedIn(False, "Session Expired")),
        ('{"t":"tf","e":"NFO","tk":"1","lp":"5"}', None),  # a change of what was not seen whole
        ('{"t":"h"}', None),
        ('{"t":"om","norenordno":"1"}', None),
        ("[]", None),
        ("", None),
    ],
)
def test_other_frames(text: str, answer: object) -> None:
    assert touchline.read(text, {}) == answer


VALUES = st.text(max_size=20) | st.none() | st.integers() | st.floats() | st.lists(st.integers())


@given(
    fields=st.dictionaries(
        st.sampled_from(["t", "e", "tk", "lp", "bp1", "sp1", "ft", "s", "emsg"]),
        VALUES | st.sampled_from(["tk", "tf", "ak", "NFO", "1", "1e999", "-5", "1658911102"]),
    ),
    text=st.text(max_size=60),
)
def test_no_frame_raises_or_makes_a_price_of_nonsense(fields: dict[str, Any], text: str) -> None:
    known = {("NFO", "1"): Touchline("NFO", "1", last=Decimal(5), at=AT)}
    for frame in (json.dumps(fields), text):
        said = touchline.read(frame, known)
        if isinstance(said, Touchline):
            prices = [price for price in (said.last, said.bid, said.ask) if price is not None]
            assert all(price.is_finite() and price > 0 for price in prices)


# -- the simulator and a connection that dies ------------------------------------------------
@pytest.fixture
def simulator(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(clock, "_offset", TEN_O_CLOCK.timestamp() - time.time())
    running = Running()
    noren = f"http://127.0.0.1:{running.simulator.ports.noren}"
    settings.QUANTLEAP_BROKERS = {"zebu": {"api": noren, "login": noren, "instruments": ""}}
    login = running.simulator.exchange.sessions.open("zebu", "quotes", "F1", running.now())
    feed = make_feed("noren", "zebu", client_id="F1", now=running.now())
    feed.access_token = sealed_credentials.seal(feed, "access_token", login.token)
    feed.save()
    yield running
    running.stop()


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_prices_go_on_when_the_websocket_is_cut(simulator: Running) -> None:
    contracts = near_the_money(simulator, 4)
    heard_until(contracts, dt.timedelta(seconds=1))
    simulator._do(simulator.simulator._stream.close())
    heard_until(contracts, dt.timedelta(seconds=2))
    (line,) = [
        line
        for line in feed_loop().lines.values()
        if line.feed.base_url.endswith(str(simulator.simulator.ports.noren))
    ]
    until = time.monotonic() + 10
    while line.stream is None or not line.stream.is_open:
        assert time.monotonic() < until
        heard_until(contracts, dt.timedelta(0))
    assert simulator.simulator.exchange.gate.refused["zebu", "F1"] == 0


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_160_legs_are_priced_by_a_noren_feed_without_a_call(simulator: Running) -> None:
    """40 strategies of four legs: 120 calls a minute would price two of them."""
    contracts = near_the_money(simulator, 160)
    simulator.simulator.exchange.gate.limits = simulator.simulator.exchange.gate.limits.changed(
        {"noren_calls_per_minute": 40}
    )
    quotes = heard_until(contracts, dt.timedelta(seconds=2))
    assert len(quotes) == 160
    assert simulator.simulator.exchange.gate.refused["zebu", "F1"] == 0


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_160_legs_are_one_call_of_a_kite_feed(simulator: Running, settings: LazySettings) -> None:
    kite = f"http://127.0.0.1:{simulator.simulator.ports.kite}"
    settings.QUANTLEAP_BROKERS["zerodha"] = {"api": kite, "login": kite, "instruments": ""}
    exchange = simulator.simulator.exchange
    login = exchange.sessions.open("zerodha", "quotes", "K1", simulator.now())
    feed = make_feed("kite", "zerodha", "SPARE", client_id="K1", now=simulator.now())
    feed.api_key = sealed_credentials.seal(feed, "api_key", "quotes")
    feed.access_token = sealed_credentials.seal(feed, "access_token", login.token)
    feed.save()
    type(feed).objects.filter(name="noren").update(is_active=False)
    contracts = near_the_money(simulator, 160)
    quotes = heard_until(contracts, dt.timedelta(seconds=2))
    assert {quote.source for quote in quotes.values()} == {"kite"}
    assert exchange.gate.refused["zerodha", "K1"] == 0


def test_a_session_that_is_not_honoured_is_refused_by_name() -> None:
    running = Running()

    async def log_in() -> str:
        import aiohttp

        url = f"ws://127.0.0.1:{running.simulator.ports.noren}{touchline.PATH}"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as socket:
            await socket.send_str(touchline.login(SESSION))
            return await socket.receive_str(timeout=10)

    try:
        answer = touchline.read(asyncio.run(log_in()), {})
    finally:
        running.stop()
    assert answer == LoggedIn(False, "NOT_OK")
