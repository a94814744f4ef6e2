"""A customer's morning over real sockets: instruments, login page, token, quotes, book.

The simulator runs in a thread; what a browser would do is done with ``requests``.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from io import StringIO
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.conf import LazySettings
from django.core.management import call_command

from brokers.base import Outcome
from brokers.contract_lists import contract_tile, list_states, wanted_lists
from brokers.endpoints import endpoints
from brokers.feed import FeedQuotes
from brokers.models import BrokerAccount, ContractListImport
from brokers.registry import get_adapter
from brokers.selectors import instrument_names, trading_accounts
from brokers.services.contract_lists import request_imports, run_import
from brokers.services.feeds import complete_feed_login, feed_login_url
from brokers.simulator.server import Ports
from brokers.tests.factories import make_feed
from brokers.transport_sync import send
from marketplace.models import Contract
from marketplace.selectors import contract_info, expiries, load_calendar
from marketplace.tests import factories as make
from partners.tests.factories import make_tenant
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("simulated")]


def browse(url: str, user_id: str) -> dict[str, str]:
    """Log in on the broker's page; what the redirect brings back."""
    with requests.Session() as browser:
        assert browser.get(url, timeout=5).status_code == 200
        form = dict(parse_qsl(urlsplit(url).query)) | {"user_id": user_id, "password": "x"}
        address = url.partition("?")[0]
        answer = browser.post(address, data=form, allow_redirects=False, timeout=5)
    return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


@pytest.mark.parametrize(("broker", "code"), [("zerodha", "request_token"), ("zebu", "code")])
def test_connect_log_in_and_read_the_book(broker: str, code: str) -> None:
    client = make_tenant().client
    base = "/partner/broker-accounts"
    user = {"user_email": "asha@example.com"}
    account = user | {
        "broker_name": broker,
        "client_id": "AB1234",
        "api_key": "app1",
        "api_secret": "secret-app1",
    }
    assert client.post(base, account).status_code == 201
    started = client.post(f"{base}/AB1234/oauth/initiate", user).json()
    returned = browse(started["oauth_url"], "ab1234")
    assert returned.get("state", started["state"]) == started["state"]
    assert ("state" in returned) == get_adapter(broker).capabilities.returns_login_state
    body = user | {"request_token": returned[code], "state": started["state"]}
    answer = client.post(f"{base}/AB1234/oauth/callback", body)
    assert answer.status_code == 200, answer.json()
    account_id = BrokerAccount.objects.get().pk
    opened = trading_accounts([account_id], clock.now())[account_id]
    assert opened.session is not None
    adapter = get_adapter(broker)
    response = send(adapter.order_book(opened.session), base_url=endpoints(broker).api)
    book = adapter.parse_order_book(response)
    assert (book.ok, tuple(book.orders)) == (True, ())
    response = send(adapter.cancel_order(opened.session, "1"), base_url=endpoints(broker).api)
    assert adapter.parse_cancel(response).outcome in (Outcome.REFUSED, Outcome.UNKNOWN)


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_a_wrong_secret_is_the_brokers_refusal(broker: str) -> None:
    client = make_tenant().client
    base, user = "/partner/broker-accounts", {"user_email": "asha@example.com"}
    wrong = {"broker_name": broker, "client_id": "AB1", "api_key": "app1", "api_secret": "wrong"}
    client.post(base, user | wrong)
    started = client.post(f"{base}/AB1/oauth/initiate", user).json()
    returned = browse(started["oauth_url"], "AB1")
    body = user | {
        "code": returned.get("request_token") or returned["code"],
        "state": started["state"],
    }
    answer = client.post(f"{base}/AB1/oauth/callback", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "broker_rejected")
    assert "checksum" in answer.json()["broker_response"]["message"]


def test_a_sensex_template_can_enter_on_a_local_installation(
    ports: Ports, settings: LazySettings
) -> None:
    """Bug: the simulator had no list of BFO, and what staff had published could never enter."""
    settings.QUANTLEAP_SIMULATOR_URL = f"http://127.0.0.1:{ports.control}"
    monday = clock.at_ist(dt.date(2026, 8, 3), dt.time(8, 0))
    make.load_reference_data(monday)
    make.make_template(strategy={"underlying": "SENSEX"})
    now = clock.now()
    asked = request_imports(lists=wanted_lists(), actor=SYSTEM, now=now)
    assert [(row.broker, row.exchange) for row in asked] == [
        *(("zebu", "BFO"), ("zebu", "NFO"), ("zerodha", "BFO"), ("zerodha", "NFO")),
    ]
    assert all(run_import(row.pk, now=now) for row in asked)
    tile = contract_tile(list_states(), load_calendar(), now)
    assert (tile.value, tile.tone) == ("Today's", "good")
    today = clock.ist_date(now)
    listed = Contract.objects.filter(underlying__symbol="SENSEX")
    assert {row.expiry.weekday() for row in listed} <= {2, 3}  # a Thursday, or the day before
    near = contract_info("SENSEX", expiries("SENSEX", today)[0], Decimal(82000), "CE", today)
    assert near is not None
    assert (near.lot_size, near.freeze_quantity) == (20, 1000)
    for broker in ("zerodha", "zebu"):
        assert instrument_names(broker, [near.id])[near.id].exchange == "BFO"


def test_a_new_local_installation_has_bfo_from_its_first_minute(settings: LazySettings) -> None:
    settings.QUANTLEAP_SIMULATOR_URL = "http://127.0.0.1:1"
    make.load_reference_data()
    out = StringIO()
    call_command("seed_instruments", stdout=out)
    assert "instruments of zebu, BFO:" in out.getvalue()
    states = ContractListImport.objects.values_list("broker", "exchange", "state")
    both = {(broker, name) for broker in ("zebu", "zerodha") for name in ("BFO", "NFO")}
    assert set(states) == {(*key, ContractListImport.State.DONE) for key in both}


@pytest.mark.parametrize(("broker", "code"), [("zerodha", "request_token"), ("zebu", "code")])
def test_import_and_feed(broker: str, code: str) -> None:
    call_command("import_instruments", "--broker", broker, stdout=StringIO())
    assert Contract.objects.count() > 1000
    feed = make_feed("main", broker, client_id="F1", app="feedapp", logged_in=False)
    returned = browse(feed_login_url(feed, state="s"), "F1")
    complete_feed_login(feed=feed, code=returned[code], actor=SYSTEM, now=clock.now())
    quotes = FeedQuotes(max_age=dt.timedelta(days=7))  # the market may be closed now
    indices = ["NIFTY", "BANKNIFTY", "FINNIFTY", "SENSEX"]
    spot = quotes.spot(indices, now=clock.now())
    assert set(spot) == set(indices)
    near = Contract.objects.filter(
        underlying__symbol="NIFTY", strike=round(spot["NIFTY"].last / 50) * 50
    ).order_by("expiry")[:2]
    option_quotes = quotes.quotes([contract.pk for contract in near], now=clock.now())
    assert len(option_quotes) == 2
    for quote in option_quotes.values():
        assert quote.bid is not None
        assert quote.ask is not None
        assert 0 < quote.bid <= quote.last <= quote.ask
