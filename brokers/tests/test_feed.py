"""Quotes of the feed accounts: primary first, spares for the rest, nothing stale.

Every feed is a real server on a loopback port; answers are stamped with the time they are asked at.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import responses
from django.conf import LazySettings

from brokers.errors import BrokerRejected
from brokers.feed import FIRST_SECONDS, PATIENCE, FeedQuotes, load_feeds
from brokers.feed_loop import feed_loop
from brokers.models import FeedAccount
from brokers.pace import JITTER, Call, Urgency
from brokers.sealed_credentials import session_of
from brokers.services.feeds import complete_feed_login, feed_login_url, save_feed_account
from brokers.tests import loopback
from brokers.tests.factories import make_contract, make_feed
from brokers.wire_values import IST
from marketplace.ports import QUOTES, Need
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"
NOW = dt.datetime(2026, 8, 25, 3, 50, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _simulated(settings: LazySettings) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }


@pytest.fixture(autouse=True)
def _unhurried(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks waits for a minute, and prices are good for as long, however busy the machine:
    a question's own seconds count among those that a price is old."""
    for need in Need:
        monkeypatch.setitem(PATIENCE, need, 60.0)
    settings.QUANTLEAP_QUOTE_MAX_AGE_ENTRY = 60.0
    settings.QUANTLEAP_QUOTE_MAX_AGE_RISK = 90.0


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def kite_row(last: str, at: dt.datetime = NOW) -> dict[str, Any]:
    stamp = at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "last_price": float(last),
        "timestamp": stamp,
        "last_trade_time": stamp,
        "depth": {"buy": [{"price": 82.0}], "sell": [{"price": 82.15}]},
    }


def kite(rows: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": rows}


def noren(last: str, at: dt.datetime = NOW) -> dict[str, str]:
    local = at.astimezone(IST)
    return {
        "stat": "Ok",
        "request_time": local.strftime("%H:%M:%S %d-%m-%Y"),
        "ltt": local.strftime("%H:%M:%S"),
        "ltd": local.strftime("%d-%m-%Y"),
        "lut": str(int(at.timestamp())),
        "lp": last,
        "bp1": "81.9",
        "sp1": "82.2",
    }


Answer = Callable[[bytes], Any]


@pytest.fixture
def serve(settings: LazySettings) -> Iterator[Callable[[str, Answer | loopback.Behaviour], Any]]:
    """Have a broker answer on a port of its own; gives the requests that came."""
    with ExitStack() as stack:

        def start(broker: str, answer: Any, *, raw: bool = False) -> list[bytes]:
            def behave(connection: socket.socket, request: bytes) -> None:
                loopback.reply(json.dumps(answer(request)).encode())(connection, request)

            url, seen = stack.enter_context(loopback.server(answer if raw else behave))
            settings.QUANTLEAP_BROKERS[broker]["api"] = url
            return seen

        yield start


def asked_for(request: bytes) -> list[str]:
    """Kite's keys of one quote call."""
    query = urlsplit(request.split(b" ", 2)[1].decode()).query
    return [value for name, value in parse_qsl(query) if name == "i"]


# -- what is given ---------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_primary_answers_and_the_spare_fills_what_it_lacks(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A primary that takes longer than its time is another test: the spare is asked for all then.
    monkeypatch.setattr("brokers.feed.FIRST_SECONDS", 60.0)
    make_feed("main", "zerodha", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    call, put = make_contract(), make_contract(option_type="PE")
    kites = serve("zerodha", lambda request: kite({"NFO:NIFTY26AUG24400CE": kite_row("82.05")}))
    norens = serve("zebu", lambda request: noren("71.00"))
    quotes = FeedQuotes().quotes([call.pk, put.pk, 0], now=NOW)
    assert {pk: (q.last, q.bid, q.ask, q.at, q.source) for pk, q in quotes.items()} == {
        call.pk: (Decimal("82.05"), Decimal("82.0"), Decimal("82.15"), NOW, "main"),
        put.pk: (Decimal("71.00"), Decimal("81.9"), Decimal("82.2"), NOW, "spare"),
    }
    assert (len(kites), len(norens)) == (1, 1)


@pytest.mark.django_db
def test_index_levels_by_underlying(serve: Any) -> None:
    make_feed(now=NOW)
    serve("zerodha", lambda request: kite({"NSE:NIFTY 50": kite_row("24405.1")}))
    feeds = FeedQuotes()
    assert feeds.last_level("NIFTY") is None
    spots = feeds.spot(["NIFTY", "BANKNIFTY", "NOSUCH"], now=NOW)
    assert {name: quote.last for name, quote in spots.items()} == {"NIFTY": Decimal("24405.1")}
    assert feeds.last_level("NIFTY") == Decimal("24405.1")


@pytest.mark.django_db
def test_a_fresh_spare_quote_beats_an_ageing_primary_one(serve: Any) -> None:
    make_feed("main", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    feeds = FeedQuotes(wanted_age=2 * MINUTE, max_age=5 * MINUTE)
    ageing = kite_row("24405.1", NOW - 4 * MINUTE)
    serve("zerodha", lambda request: kite({"NSE:NIFTY 50": ageing}))
    serve("zebu", lambda request: noren("24406", NOW - MINUTE))
    spot = feeds.spot(["NIFTY"], now=NOW)["NIFTY"]
    assert (spot.source, spot.at) == ("spare", NOW - MINUTE)
    serve("zebu", loopback.reply(b"<html>", "502 Bad Gateway"), raw=True)
    spot = feeds.spot(["NIFTY"], now=NOW)["NIFTY"]
    assert (spot.source, spot.at) == ("main", NOW - 4 * MINUTE)


@pytest.mark.parametrize(
    ("age", "known"),
    [(-5 * MINUTE, False), (-SECOND, True), (4 * MINUTE, True), (6 * MINUTE, False)],
    ids=str,
)
@pytest.mark.django_db
def test_a_quote_that_is_too_old_or_from_the_future_is_no_quote(
    serve: Any, settings: LazySettings, age: dt.timedelta, known: bool
) -> None:
    settings.QUANTLEAP_QUOTE_MAX_AGE_RISK = 300.0
    make_feed(now=NOW)
    serve("zerodha", lambda request: kite({"NSE:NIFTY 50": kite_row("24405.1", NOW - age)}))
    market = FeedQuotes().read(["NIFTY"], (), now=NOW)
    assert bool(market.spots) is known
    assert known or market.trouble.startswith("feed: its last price is of 25 Aug, 09:")


@pytest.mark.parametrize(
    "behave",
    [
        loopback.reply(b"<html>", "502 Bad Gateway"),
        loopback.reply(b"{}", "403 Forbidden"),
        loopback.reset,
    ],
    ids=["502", "403", "reset"],
)
@pytest.mark.django_db
def test_a_failing_primary_moves_to_the_spare(serve: Any, behave: loopback.Behaviour) -> None:
    make_feed("main", "zerodha", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    serve("zerodha", behave, raw=True)
    serve("zebu", lambda request: noren("24405"))
    assert FeedQuotes().spot(["NIFTY"], now=NOW)["NIFTY"].source == "spare"


@pytest.mark.django_db
def test_a_slow_primary_does_not_delay_the_spare(
    serve: Any,
) -> None:
    """The primary answers when the test lets it, which is after the spare was believed."""
    make_feed("main", "zerodha", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    let_go = threading.Event()

    def hang(connection: socket.socket, request: bytes) -> None:
        assert let_go.wait(30)
        answer = json.dumps(kite({"NSE:NIFTY 50": kite_row("1")})).encode()
        loopback.reply(answer)(connection, request)

    kites = serve("zerodha", hang, raw=True)
    serve("zebu", lambda request: noren("24405", NOW + dt.timedelta(seconds=FIRST_SECONDS)))
    market = FeedQuotes().read(["NIFTY"], (), now=NOW, need=Need.TRADE)
    assert market.spots["NIFTY"].source == "spare"
    assert market.at >= NOW + dt.timedelta(seconds=FIRST_SECONDS)  # the age is that of the answer
    assert len(kites) == 1
    let_go.set()


@pytest.mark.django_db
def test_a_feed_without_a_living_session_is_not_asked(settings: LazySettings) -> None:
    feed = make_feed(now=NOW)
    assert [f.name for f in load_feeds(NOW)] == ["feed"]
    assert load_feeds(NOW + dt.timedelta(days=1)) == []
    FeedAccount.objects.update(is_active=False)
    assert load_feeds(NOW) == []
    FeedAccount.objects.update(is_active=True)
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": "https://api.example", "login": "", "instruments": ""}
    }
    assert load_feeds(NOW) == []  # a live broker that is not enabled
    market = FeedQuotes().read(["NIFTY"], (), now=NOW)
    assert (market.spots, market.trouble) == ({}, "no feed account is logged in")
    assert "token-feed" not in repr(load_feeds(NOW)) + repr(feed)


def test_marketplace_asks_this_feed() -> None:
    assert isinstance(QUOTES.get(), FeedQuotes)


# -- how it is asked -------------------------------------------------------------------------
@pytest.mark.django_db
def test_level_and_legs_share_a_call_that_is_not_repeated(serve: Any) -> None:
    """Prices heard a moment ago are not requested again."""
    make_feed(now=NOW)
    call, put = make_contract(), make_contract(option_type="PE")
    seen = serve(
        "zerodha",
        lambda request: kite({key: kite_row("82.05") for key in asked_for(request)}),
    )
    feeds = FeedQuotes()
    market = feeds.read(["NIFTY"], [call.pk, put.pk], now=NOW, need=Need.TRADE)
    assert (set(market.spots), set(market.quotes)) == ({"NIFTY"}, {call.pk, put.pk})
    again = feeds.read(["NIFTY"], [call.pk], now=NOW, need=Need.RISK)
    assert (set(again.spots), set(again.quotes)) == ({"NIFTY"}, {call.pk})
    calls = [request for request in seen if b"Upgrade: websocket" not in request]
    assert [asked_for(request) for request in calls] == [
        ["NSE:NIFTY 50", "NFO:NIFTY26AUG24400CE", "NFO:NIFTY26AUG24400PE"]
    ]


@pytest.mark.django_db(transaction=True)
def test_strategies_of_the_same_second_share_a_call(serve: Any) -> None:
    """Ten of them, ten pairs of legs, one login that may be asked once a second."""
    make_feed(now=NOW)
    contracts = [make_contract(strike=24000 + 50 * n) for n in range(10)]
    seen = serve(
        "zerodha",
        lambda request: kite({key: kite_row("82.05") for key in asked_for(request)}),
    )
    feeds, start = FeedQuotes(), threading.Barrier(10)
    answers: list[set[int]] = []

    def strategy(contract_id: int) -> None:
        from django.db import connection

        start.wait(20)
        market = feeds.read(["NIFTY"], [contract_id], now=NOW, need=Need.TRADE)
        answers.append({*market.quotes} if market.spots else set())
        connection.close()

    threads = [threading.Thread(target=strategy, args=(c.pk,)) for c in contracts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(tuple, answers)) == sorted((c.pk,) for c in contracts)
    calls = [request for request in seen if b"Upgrade: websocket" not in request]
    assert len(calls) <= 2  # those that came while the first call was under way share the second


@pytest.mark.django_db
def test_a_limit_named_in_a_refusal_is_obeyed(serve: Any) -> None:
    """A login that is provisioned with less than documented, or used by somebody else as well."""
    make_feed("noren", "zebu", now=NOW)
    too_many = {
        "stat": "Not_Ok",
        "emsg": "Invalid Input :  Order Recieved 4 in a current second exceeds Limit 3 for user",
    }
    refusals = [loopback.reply(json.dumps(too_many).encode(), "400 Bad Request")]

    def answer(connection: socket.socket, request: bytes) -> None:
        if b"GetQuotes" in request and refusals:
            refusals.pop()(connection, request)
            return
        at = NOW + dt.timedelta(seconds=1)
        loopback.reply(json.dumps(noren("24406", at)).encode())(connection, request)

    seen = serve("zebu", answer, raw=True)
    market = FeedQuotes().read(["NIFTY"], (), now=NOW, need=Need.PAGE)
    assert market.spots["NIFTY"].last == Decimal(24406)
    assert len([request for request in seen if b"GetQuotes" in request]) == 2
    (line,) = [line for line in feed_loop().lines.values() if line.feed.name == "noren"][-1:]
    assert line.pacer.next_slot(1e9, Call.QUOTE, Urgency.FIRST) == 1e9
    for _ in range(2):
        line.pacer.take(1e9, Call.QUOTE)
    assert line.pacer.next_slot(1e9, Call.QUOTE, Urgency.FIRST) == 1e9 + 1 + JITTER


# -- the clock of a feed ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (dt.timedelta(minutes=3), "its clock is 3 min behind ours"),
        (-dt.timedelta(minutes=3), "its clock is 3 min ahead of ours"),
        (dt.timedelta(days=1), "its clock is 1 day behind ours"),
    ],
    ids=str,
)
@pytest.mark.django_db
def test_a_wrong_feed_clock_is_named(serve: Any, behind: dt.timedelta, words: str) -> None:
    """Bug: NO_QUOTE without a word why. Each answer's time moves on, so its prices are new."""
    now = clock.now()
    make_feed("main", "zerodha", now=now)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=now)
    moment = iter(range(100))

    def answer(request: bytes) -> Any:
        at = now - behind - (10 - next(moment)) * SECOND
        return kite({key: kite_row("24405", at) for key in asked_for(request)})

    serve("zerodha", answer)
    serve("zebu", loopback.reply(b"<html>", "502 Bad Gateway"), raw=True)
    feeds = FeedQuotes()
    for name in ("NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY"):
        market = feeds.read([name], (), now=now)
    assert market.spots == {}
    assert market.trouble.startswith(f"main: {words}; spare: ")
    serve("zebu", lambda request: noren("24406", clock.now()))
    assert feeds.read(["SENSEX"], (), now=clock.now()).spots["SENSEX"].source == "spare"


# -- feed accounts ---------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_feed_login(wire: responses.RequestsMock) -> None:
    feed = make_feed(logged_in=False)
    assert feed_login_url(feed, state="s").startswith(f"{KITE}/connect/login?")
    answer = kite({"access_token": "fresh", "user_id": feed.client_id})
    wire.post(f"{KITE}/session/token", json=answer)
    complete_feed_login(feed=feed, code=" code1 ", actor=SYSTEM, now=NOW)
    assert session_of(feed).access_token == "fresh"
    assert feed.token_expires_at == dt.datetime(2026, 8, 26, 0, 30, tzinfo=dt.UTC)
    wire.replace(
        "POST",
        f"{KITE}/session/token",
        json=answer | {"data": {"access_token": "x", "user_id": "OTHER"}},
    )
    with pytest.raises(BrokerRejected):
        complete_feed_login(feed=feed, code="code2", actor=SYSTEM, now=NOW)
    feed.refresh_from_db()
    assert session_of(feed).access_token == "fresh"


@pytest.mark.django_db
def test_one_active_primary_and_credentials_that_stay() -> None:
    feed = make_feed("main")
    with pytest.raises(InvalidRequest):
        make_feed("second")
    changed = save_feed_account(
        feed=feed,
        name="main",
        broker="zerodha",
        role="PRIMARY",
        client_id=feed.client_id,
        api_key="",
        api_secret="",
        actor=SYSTEM,
    )
    changed.refresh_from_db()
    assert session_of(changed).api_key == "key-main"
    assert changed.access_token
    save_feed_account(
        feed=feed,
        name="main",
        broker="zerodha",
        role="PRIMARY",
        client_id=feed.client_id,
        api_key="new",
        api_secret="",
        actor=SYSTEM,
    )
    changed.refresh_from_db()
    assert changed.access_token == ""
