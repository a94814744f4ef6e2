"""Kite: our requests equal the official SDK's, its recorded answers read as they are meant."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from brokers.base import (
    BookState,
    BrokerInstrument,
    Cause,
    Credentials,
    HttpResponse,
    OrderRequest,
    OrderType,
    Outcome,
    PriceChange,
    Product,
    Session,
    Side,
)
from brokers.zerodha.adapter import ZerodhaAdapter

DATA = Path(__file__).parent / "data" / "zerodha"
ADAPTER = ZerodhaAdapter()
SESSION = Session(client_id="DA0017", api_key="apikey", access_token="AT", algo_id="X1")


def recorded(name: str, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, (DATA / name).read_bytes())


def sdk_call(name: str) -> dict[str, Any]:
    lines = (DATA / "kiteconnect-wire.jsonl").read_text().splitlines()
    calls = (json.loads(line) for line in lines)
    matching: dict[str, Any] = next(call for call in calls if call["call"] == name)
    return matching


def error(kind: str, message: str, status: int = 400) -> HttpResponse:
    value = {"status": "error", "message": message, "error_type": kind, "data": None}
    return HttpResponse(status, {}, json.dumps(value).encode())


# -- requests --------------------------------------------------------------------------------
def test_the_token_request_equals_the_sdks() -> None:
    request = ADAPTER.token_request(Credentials("DA0017", "apikey", "secret"), "reqtok")
    sdk = sdk_call("kite.generate_session")
    assert (request.method, request.path) == (sdk["method"], sdk["path"])
    assert request.body.decode() == sdk["body"]
    assert b"401931e838d0c671fce189d5ae7c88a0f77be53f0a07daf97054ff42c20f0b2e" in request.body


def test_a_placed_order_equals_the_sdks() -> None:
    order = OrderRequest(
        tag="QL12345",
        instrument=BrokerInstrument("NFO", "NIFTY2580724400CE", ""),
        side=Side.SELL,
        quantity=75,
        product=Product.INTRADAY,
        order_type=OrderType.MARKET_WITH_PROTECTION,
    )
    request = ADAPTER.place_order(SESSION, order)
    sdk = sdk_call("kite.place")
    assert (request.method, request.path) == (sdk["method"], sdk["path"])
    assert request.body.decode() == sdk["body"]
    for name in ("X-Kite-Version", "Authorization", "Content-Type"):
        assert request.headers[name] == sdk["headers"][name]


def test_a_limit_order_carries_its_price_plainly() -> None:
    order = OrderRequest(
        tag="Q1",
        instrument=BrokerInstrument("NFO", "M&M26AUGFUT", ""),
        side=Side.BUY,
        quantity=65,
        product=Product.CARRY,
        price=Decimal("1E+2"),
    )
    form = dict(parse_qsl(ADAPTER.place_order(SESSION, order).body.decode()))
    assert form["price"] == "100"
    assert form["product"] == "NRML"
    assert form["tradingsymbol"] == "M&M26AUGFUT"


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("kite.cancel", ADAPTER.cancel_order(SESSION, "151220000000000")),
        ("kite.orders", ADAPTER.order_book(SESSION)),
    ],
)
def test_other_calls_equal_the_sdks(name: str, request_: Any) -> None:
    sdk = sdk_call(name)
    assert (request_.method, request_.path) == (sdk["method"], sdk["path"])
    assert request_.headers["Authorization"] == sdk["headers"]["Authorization"]


def test_a_changed_order_equals_the_sdks_but_for_the_quantity() -> None:
    change = PriceChange(
        "151220000000000", BrokerInstrument("NFO", "NIFTY2580724400CE", ""), 75, Decimal("10.5")
    )
    request = ADAPTER.change_order(SESSION, change)
    sdk = sdk_call("kite.modify")
    assert (request.method, request.path) == (sdk["method"], sdk["path"])
    recorded_form = dict(parse_qsl(sdk["body"]))
    assert recorded_form.pop("quantity") == "75", "what is not named stays as it is"
    assert dict(parse_qsl(request.body.decode())) == recorded_form
    for name in ("X-Kite-Version", "Authorization", "Content-Type"):
        assert request.headers[name] == sdk["headers"][name]


def test_the_26th_change_is_refused_and_holds_nobody_still() -> None:
    """Kite says it with a type that proves nothing by itself, and with the status of a breach."""
    words = "Maximum allowed order modifications exceeded."
    for status in (400, 429):
        said = ADAPTER.parse_change(error("NetworkException", words, status))
        assert (said.outcome, said.cause, said.retryable) == (Outcome.REFUSED, Cause.OTHER, False)
    for other in ("Too many requests", f"{words} Or not"):
        assert ADAPTER.parse_change(error("NetworkException", other, 429)).cause is Cause.RATE_LIMIT
    assert ADAPTER.parse_change(error("NetworkException", words, 503)).outcome is Outcome.UNKNOWN


def test_the_login_page_hands_our_state_back() -> None:
    url = ADAPTER.login_url("https://kite.example/", Credentials("DA0017", "k", "s"), "st4te")
    query = dict(parse_qsl(urlsplit(url).query))
    assert url.startswith("https://kite.example/connect/login?")
    assert query == {"v": "3", "api_key": "k", "redirect_params": "state=st4te"}


# -- outcomes --------------------------------------------------------------------------------
def test_the_recorded_order_answer_is_accepted() -> None:
    result = ADAPTER.parse_place(recorded("order_response.json"))
    assert (result.outcome, result.broker_order_id) == (Outcome.ACCEPTED, "151220000000000")


@pytest.mark.parametrize(
    ("kind", "status", "message", "outcome", "cause"),
    [
        ("InputException", 400, "Bad `quantity`", Outcome.REFUSED, Cause.INVALID),
        ("MarginException", 400, "Not enough", Outcome.REFUSED, Cause.MARGIN),
        ("OrderException", 400, "Refused", Outcome.REFUSED, Cause.OTHER),
        ("HoldingException", 400, "Refused", Outcome.REFUSED, Cause.OTHER),
        ("UserException", 403, "Refused", Outcome.REFUSED, Cause.OTHER),
        ("PermissionException", 403, "No permission", Outcome.REFUSED, Cause.APP_NOT_PERMITTED),
        (
            "TokenException",
            403,
            "Incorrect `api_key` or `access_token`.",
            Outcome.REFUSED,
            Cause.SESSION_EXPIRED,
        ),
        (
            "GeneralException",
            403,
            "No IPs configured for this app.",
            Outcome.REFUSED,
            Cause.IP_NOT_REGISTERED,
        ),
        ("NetworkException", 400, "No answer from OMS", Outcome.UNKNOWN, None),
        ("NetworkException", 403, "No IPs configured for this app.", Outcome.UNKNOWN, None),
        ("GeneralException", 400, "Something unexpected", Outcome.UNKNOWN, None),
        ("DataException", 400, "Odd answer", Outcome.UNKNOWN, None),
        ("OrderException", 400, "The order timed out", Outcome.UNKNOWN, None),
        ("InputException", 400, "Request timeout", Outcome.UNKNOWN, None),
        ("NoSuchException", 400, "x", Outcome.UNKNOWN, None),
        ("InputException", 500, "x", Outcome.UNKNOWN, None),
        ("InputException", 200, "x", Outcome.UNKNOWN, None),
        ("OrderException", 404, "x", Outcome.UNKNOWN, None),
        ("NetworkException", 429, "Too many requests", Outcome.REFUSED, Cause.RATE_LIMIT),
        ("GeneralException", 429, "Too many requests", Outcome.REFUSED, Cause.RATE_LIMIT),
    ],
)
def test_error_types(
    kind: str, status: int, message: str, outcome: Outcome, cause: Cause | None
) -> None:
    result = ADAPTER.parse_place(error(kind, message, status))
    assert result.outcome is outcome
    assert (result.message, result.code) == (message, kind)
    if cause is not None:
        assert result.cause is cause
    assert result.retryable == (cause is Cause.RATE_LIMIT)


@pytest.mark.parametrize(
    ("kind", "status", "message", "cause"),
    [
        ("TokenException", 403, "Missing `api_key`", Cause.SESSION_EXPIRED),
        ("TokenException", 403, "Insufficient funds", Cause.SESSION_EXPIRED),
        (
            "PermissionException",
            403,
            "The segment NFO is not enabled for trading in this account.",
            Cause.APP_NOT_PERMITTED,
        ),
        ("PermissionException", 403, "No IPs configured for this app.", Cause.IP_NOT_REGISTERED),
        ("MarginException", 400, "Position limit for this contract is reached", Cause.MARGIN),
        ("InputException", 400, "Invalid AMO", Cause.INVALID),
        ("InputException", 400, "The segment NFO is not enabled", Cause.SEGMENT),
    ],
)
def test_the_documented_type_beats_the_text(
    kind: str, status: int, message: str, cause: Cause
) -> None:
    """Bug: INVALID for a session that was over, SEGMENT for our application's missing right."""
    result = ADAPTER.parse_place(error(kind, message, status))
    assert (result.outcome, result.cause) == (Outcome.REFUSED, cause)
    assert ADAPTER.parse_order_book(error(kind, message, status)).cause is cause


@pytest.mark.parametrize("kind", ["NetworkException", "GeneralException", "OrderException"])
def test_maximum_allowed_order_requests_is_final_for_the_day(kind: str) -> None:
    """Bug: retried, as any HTTP 429."""
    message = "Maximum allowed order requests exceeded."
    result = ADAPTER.parse_place(error(kind, message, 429))
    assert (result.outcome, result.cause) == (Outcome.REFUSED, Cause.DAILY_LIMIT)
    assert not result.retryable
    control = ADAPTER.parse_place(error(kind, "Too many requests", 429))
    assert (control.cause, control.retryable) == (Cause.RATE_LIMIT, True)


def test_an_error_that_names_an_order_proves_nothing() -> None:
    value = {
        "status": "error",
        "message": "x",
        "error_type": "OrderException",
        "data": {"order_id": "151220000000000"},
    }
    response = HttpResponse(400, {}, json.dumps(value).encode())
    assert ADAPTER.parse_place(response).outcome is Outcome.UNKNOWN


# -- recorded reads --------------------------------------------------------------------------
def test_the_recorded_book() -> None:
    book = ADAPTER.parse_order_book(recorded("orders.json"))
    assert book.ok
    first = book.orders[0]
    assert (first.broker_order_id, first.state) == ("171228000850038", BookState.FILLED)
    assert (first.quantity, first.filled_quantity) == (3, 3)
    assert (first.average_price, first.side, first.product) == (
        Decimal(23337),
        Side.SELL,
        Product.CARRY,
    )
    assert len(book.orders) == len(json.loads((DATA / "orders.json").read_text())["data"])


def test_the_recorded_life_of_an_order() -> None:
    rows = json.loads((DATA / "order_info.json").read_text())["data"]
    states = {}
    for row in rows:
        body = json.dumps({"status": "success", "data": [row]}).encode()
        (states[row["status"]],) = [
            order.state for order in ADAPTER.parse_order_book(HttpResponse(200, {}, body)).orders
        ]
    assert states["PUT ORDER REQ RECEIVED"] is BookState.SUBMITTED
    assert states["VALIDATION PENDING"] is BookState.SUBMITTED
    assert BookState.OTHER not in states.values()


def test_an_asynchronous_rejection_tells_why() -> None:
    row = {
        "order_id": "250807000000001",
        "status": "REJECTED",
        "status_message": "Insufficient funds. Required margin is 95417.84 but available margin is",
        "status_message_raw": "RMS:Margin Exceeds,Required:95417.84, Available:74251.80",
        "exchange": "NFO",
        "tradingsymbol": "NIFTY2580724400CE",
        "transaction_type": "SELL",
        "product": "MIS",
        "quantity": 75,
        "filled_quantity": 0,
        "average_price": 0,
        "tag": None,
        "tags": ["mktp", "mktp:2.00", "Q0123456789abA"],
    }
    body = json.dumps({"status": "success", "data": [row]}).encode()
    report = ADAPTER.parse_order_book(HttpResponse(200, {}, body)).orders[0]
    assert (report.state, report.cause) == (BookState.REJECTED, Cause.MARGIN)
    assert report.message.startswith("Insufficient funds")
    assert report.tag == "Q0123456789abA"


def test_the_recorded_positions() -> None:
    read = ADAPTER.parse_positions(recorded("positions.json"))
    assert read.ok
    lead = read.positions[0]
    assert (lead.symbol, lead.product, lead.quantity) == ("LEADMINI17DECFUT", Product.CARRY, 1)
    assert lead.last_price == Decimal("161.05")
    assert read.positions[2].product is None  # a cover order's product is none of ours


def test_the_recorded_quote() -> None:
    infy = {"spot": BrokerInstrument("NSE", "INFY", "408065")}
    read = ADAPTER.parse_quotes(recorded("quote.json"), ["spot"], infy)
    quote = read.quotes["spot"]
    assert (quote.last_price, quote.bid, quote.ask) == (
        Decimal("1074.8"),
        Decimal("1074.8"),
        Decimal("1074.85"),
    )
    assert quote.at == dt.datetime(2018, 1, 12, 5, 10, 29, tzinfo=dt.UTC)
    # ltp answers carry no time, so they are no quotes
    assert ADAPTER.parse_quotes(recorded("ltp.json"), ["spot"], infy).quotes == {}


def test_quotes_come_in_batches_without_the_missing_ones() -> None:
    instruments = {f"k{i}": BrokerInstrument("NFO", f"S{i}", "") for i in range(401)}
    batches = ADAPTER.quotes(SESSION, instruments)
    assert [len(keys) for keys, _ in batches] == [200, 200, 1]
    assert batches[2][1].path == "/quote?i=NFO%3AS400"
    assert all(len(request.path) < 8000 for _, request in batches)
    read = ADAPTER.parse_quotes(
        HttpResponse(200, {}, b'{"status":"success","data":{}}'), ["k0"], instruments
    )
    assert (read.ok, dict(read.quotes)) == (True, {})


def test_the_index_is_asked_for_by_name() -> None:
    names = {"NIFTY": "NIFTY 50", "BANKNIFTY": "NIFTY BANK", "FINNIFTY": "NIFTY FIN SERVICE"}
    for underlying, symbol in names.items():
        instrument = ADAPTER.index_instrument(underlying)
        assert instrument is not None
        assert (instrument.exchange, instrument.symbol) == ("NSE", symbol)
    assert ADAPTER.index_instrument("GOLD") is None


# -- instruments -----------------------------------------------------------------------------
def test_a_dump_without_product_names_imports_nothing() -> None:
    """Its BANKNIFTY options leave ``name`` empty: the letters of a symbol are no product code."""
    with (DATA / "instruments_all.csv").open() as lines:
        stream = ADAPTER.parse_instruments(lines)
        assert list(stream) == []
    assert (stream.read, stream.skipped, stream.problem) == (0, 0, "")
    assert stream.unknown == {("NFO", ""): 25}


def test_an_index_option_of_a_dump() -> None:
    line = "12073986,47164,BANKNIFTY18JAN23500CE,BANKNIFTY,2528.4,2018-01-25,23500.0,0.05,40,CE,"
    (row,) = ADAPTER.parse_instruments([HEADER, line + "NFO-OPT,NFO\n"])
    assert (row.underlying, row.symbol) == ("BANKNIFTY", "BANKNIFTY18JAN23500CE")
    assert (row.expiry, row.strike, row.option_type) == (
        dt.date(2018, 1, 25),
        Decimal(23500),
        "CE",
    )
    assert (row.lot_size, row.tick_size) == (40, Decimal("0.05"))
    assert (row.token, row.exchange_token, row.exchange) == ("12073986", "47164", "NFO")


HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
)


def test_broken_rows_are_skipped_and_counted() -> None:
    lines = [
        HEADER,
        "1,1,NIFTY26AUGFUT,NIFTY,0,2026-08-25,0,0.1,65,FUT,NFO-FUT,NFO\n",
        "2,2,SENSEX26AUG80000PE,SENSEX,0,2026-08-27,80000,0.05,20,PE,BFO-OPT,BFO\n",
        "3,3,NIFTY26AUG24400CE,NIFTY,0,2026-08-32,24400,0.05,65,CE,NFO-OPT,NFO\n",
        "4,4,NIFTY26AUG24400CE,NIFTY,0,2026-08-25,24400,0.05,0,CE,NFO-OPT,NFO\n",
        "5,5,NIFTY26AUG24400CE,NIFTY,0,2026-08-25,0,0.05,65,CE,NFO-OPT,NFO\n",
        "x,5,NIFTY26AUG24400CE,NIFTY,0,2026-08-25,24400,0.05,65,CE,NFO-OPT,NFO\n",
        "6,6,NIFTY26\n",
        "7,7,RELIANCE26AUG1400CE,RELIANCE,0,2026-08-25,1400,0.05,500,CE,NFO-OPT,NFO\n",
        "8,8,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n",
    ]
    stream = ADAPTER.parse_instruments(lines)
    assert [row.symbol for row in stream] == ["NIFTY26AUGFUT", "SENSEX26AUG80000PE"]
    assert (stream.read, stream.skipped) == (7, 5)
    assert stream.unknown == {("NFO", "RELIANCE"): 1}


def test_a_dump_is_read_as_it_streams() -> None:
    def endless() -> Any:
        yield HEADER
        while True:
            yield "1,1,NIFTY26AUGFUT,NIFTY,0,2026-08-25,0,0.1,65,FUT,NFO-FUT,NFO\n"

    assert next(ADAPTER.parse_instruments(endless())).symbol == "NIFTY26AUGFUT"
