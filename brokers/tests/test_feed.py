"""Quotes of the feed accounts: primary first, spares for the rest, nothing stale."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import responses
from django.conf import LazySettings

from brokers import aio
from brokers.errors import BrokerRejected
from brokers.feed import (
    FeedQuotes,
    contract_key,
    fetch,
    load_feeds,
    load_names,
    spot_key,
)
from brokers.models import FeedAccount
from brokers.services.feeds import complete_feed_login, feed_login_url, save_feed_account
from brokers.tests import loopback
from brokers.tests.factories import make_contract, make_feed
from brokers.vault import session_of
from brokers.wire import IST
from marketplace.ports import QUOTES, Quote
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"
NOW = dt.datetime(2026, 8, 25, 3, 50, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _simulated(settings: LazySettings) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def kite_row(last: str, at: dt.datetime = NOW) -> dict[str, Any]:
    return {
        "last_price": float(last),
        "timestamp": at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S"),
        "last_trade_time": at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S"),
        "depth": {"buy": [{"price": 82.0}], "sell": [{"price": 82.15}]},
    }


def kite(rows: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": rows}


def noren(last: str, at: dt.datetime = NOW) -> dict[str, str]:
    stamp = at.astimezone(IST).strftime("%H:%M:%S %d-%m-%Y")
    time, day = stamp.split()
    age = {
        "request_time": stamp,
        "ltt": time,
        "ltd": day,
        "v": "65",
        "lut": f"{at.timestamp():.0f}",
    }
    return {"stat": "Ok", "lp": last, "bp1": "81.9", "sp1": "82.2", **age}


# -- synchronous door ------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_primary_answers_and_the_spare_fills_what_it_lacks(
    wire: responses.RequestsMock,
) -> None:
    make_feed("main", "zerodha", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    call, put = make_contract(), make_contract(option_type="PE")
    wire.get(f"{KITE}/quote", json=kite({"NFO:NIFTY26AUG24400CE": kite_row("82.05")}))
    wire.post(f"{NOREN}/NorenWClientAPI/GetQuotes", json=noren("71.00"))
    found = FeedQuotes().quotes([call.pk, put.pk, 0], now=NOW)
    assert found == {
        call.pk: Quote(Decimal("82.05"), Decimal("82.0"), Decimal("82.15"), NOW, "main", NOW),
        put.pk: Quote(Decimal("71.00"), Decimal("81.9"), Decimal("82.2"), NOW, "spare", NOW),
    }
    assert len(wire.calls) == 2


@pytest.mark.django_db
def test_index_levels_by_underlying(wire: responses.RequestsMock) -> None:
    make_feed(now=NOW)
    wire.get(f"{KITE}/quote", json=kite({"NSE:NIFTY 50": kite_row("24405.1")}))
    found = FeedQuotes().spot(["NIFTY", "BANKNIFTY", "NOSUCH"], now=NOW)
    assert {name: quote.last for name, quote in found.items()} == {"NIFTY": Decimal("24405.1")}


@pytest.mark.django_db
def test_a_fresher_quote_of_the_spare_beats_an_ageing_one_of_the_primary(
    wire: responses.RequestsMock,
) -> None:
    make_feed("main", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    ageing = kite_row("24405.1", NOW - 4 * SECOND)
    wire.get(f"{KITE}/quote", json=kite({"NSE:NIFTY 50": ageing}))
    wire.post(f"{NOREN}/NorenWClientAPI/GetQuotes", json=noren("24406", NOW - SECOND))
    found = FeedQuotes().spot(["NIFTY"], now=NOW)["NIFTY"]
    assert (found.source, found.at) == ("spare", NOW - SECOND)
    wire.replace("POST", f"{NOREN}/NorenWClientAPI/GetQuotes", body="<html>", status=502)
    found = FeedQuotes().spot(["NIFTY"], now=NOW)["NIFTY"]
    assert (found.source, found.at) == ("main", NOW - 4 * SECOND)


@pytest.mark.parametrize(
    ("age", "known"),
    [(-3 * SECOND, False), (-SECOND, True), (5 * SECOND, True), (6 * SECOND, False)],
    ids=str,
)
@pytest.mark.django_db
def test_a_quote_that_is_too_old_or_from_the_future_is_no_quote(
    wire: responses.RequestsMock, settings: LazySettings, age: dt.timedelta, known: bool
) -> None:
    settings.QUANTLEAP_QUOTE_MAX_AGE_RISK = 5.0
    make_feed(now=NOW)
    wire.get(f"{KITE}/quote", json=kite({"NSE:NIFTY 50": kite_row("24405.1", NOW - age)}))
    assert bool(FeedQuotes().spot(["NIFTY"], now=NOW)) is known


@pytest.mark.parametrize(
    "reply",
    [{"status": 502, "body": "<html>"}, {"status": 403, "body": "{}"}, {"body": OSError("reset")}],
    ids=["502", "403", "reset"],
)
@pytest.mark.django_db
def test_a_failing_primary_moves_to_the_spare(
    wire: responses.RequestsMock, reply: dict[str, Any]
) -> None:
    make_feed("main", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    wire.get(f"{KITE}/quote", **reply)
    wire.post(f"{NOREN}/NorenWClientAPI/GetQuotes", json=noren("24405"))
    assert FeedQuotes().spot(["NIFTY"], now=NOW)["NIFTY"].source == "spare"


@pytest.mark.django_db
def test_a_feed_without_a_living_session_is_not_asked(
    wire: responses.RequestsMock, settings: LazySettings
) -> None:
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
    assert FeedQuotes().spot(["NIFTY"], now=NOW) == {}
    assert "token-feed" not in repr(load_feeds(NOW)) + repr(feed)


def test_marketplace_asks_this_feed() -> None:
    assert isinstance(QUOTES.get(), FeedQuotes)


# -- asynchronous door -----------------------------------------------------------------------
@pytest.mark.django_db
def test_the_executor_fetches_without_the_database(
    settings: LazySettings, django_assert_num_queries: Any
) -> None:
    make_feed("main", now=NOW)
    make_feed("spare", "zebu", FeedAccount.Role.SPARE, now=NOW)
    call, put = make_contract(), make_contract(option_type="PE")
    stale = kite_row("82", NOW - SECOND * 3)
    rows = {"NSE:NIFTY 50": kite_row("24405.1"), "NFO:NIFTY26AUG24400CE": stale}
    put_token = put.exchange_token.encode()

    def answer(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"GET /quote?i=NSE%3ANIFTY+50&i=NFO%3ANIFTY26AUG24400CE&"):
            loopback.reply(json.dumps(kite(rows)).encode())(connection, request)
        elif put_token in request:
            loopback.reply(b"<html>", "502 Bad Gateway")(connection, request)
        else:
            loopback.reply(json.dumps(noren("81.95")).encode())(connection, request)

    async def ask() -> dict[str, Quote]:
        async with aio.client() as client:
            return await fetch(client, feeds, names, keys, now=NOW, max_age=2 * SECOND)

    with loopback.server(answer) as (url, seen):
        for broker in settings.QUANTLEAP_BROKERS.values():
            broker["api"] = url
        feeds = load_feeds(NOW)
        names = load_names(
            [feed.broker for feed in feeds], underlyings=["NIFTY"], contract_ids=[call.pk, put.pk]
        )
        keys = [spot_key("NIFTY"), contract_key(call.pk), contract_key(put.pk), "contract:0"]
        with django_assert_num_queries(0):
            found = asyncio.run(ask())
    assert {key: quote.source for key, quote in found.items()} == {
        "spot:NIFTY": "main",
        contract_key(call.pk): "spare",
    }
    assert len(seen) == 3


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
