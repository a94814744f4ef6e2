"""Zebu: the documented Noren formats in both directions."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokers.base import (
    BookState,
    BrokerInstrument,
    Cause,
    Credentials,
    HttpRequest,
    HttpResponse,
    OrderRequest,
    Outcome,
    PriceChange,
    Product,
    Session,
    Side,
)
from brokers.zebu.adapter import ZebuAdapter

DATA = Path(__file__).parent / "data" / "zebu"
ADAPTER = ZebuAdapter()
SESSION = Session(client_id="Z56004", api_key="Z56004_U", access_token="AT")
CALL = BrokerInstrument("NFO", "NIFTY25AUG26C24400", "52168")


def written(name: str, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, (DATA / name).read_bytes())


def fields(request: HttpRequest) -> dict[str, Any]:
    assert request.body.startswith(b"jData=")
    form: dict[str, Any] = json.loads(request.body.removeprefix(b"jData="))
    return form


def answering(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(value).encode())


# -- requests --------------------------------------------------------------------------------
def test_the_token_request_is_signed_as_documented() -> None:
    request = ADAPTER.token_request(Credentials("UID", "CID", "sec"), "code1")
    assert (request.method, request.path) == ("POST", "/NorenWClientAPI/GenAcsTok")
    assert fields(request) == {
        "code": "code1",
        "checksum": "47954be9d1fcffa0324096f0e90409c5b44b6d7141929debf0b5424d86f5ce43",
        "uid": "UID",
    }
    assert "Authorization" not in request.headers


def test_a_placed_order_in_norens_words() -> None:
    order = OrderRequest(
        tag="Q0123456789abA",
        instrument=CALL,
        side=Side.SELL,
        quantity=130,
        product=Product.INTRADAY,
        price=Decimal("81.30"),
    )
    request = ADAPTER.place_order(SESSION, order)
    assert (request.method, request.path) == ("POST", "/NorenWClientAPI/PlaceOrder")
    assert request.headers["Authorization"] == "Bearer AT"
    assert fields(request) == {
        "uid": "Z56004",
        "actid": "Z56004",
        "exch": "NFO",
        "tsym": "NIFTY25AUG26C24400",
        "qty": "130",
        "prc": "81.3",
        "dscqty": "0",
        "prd": "I",
        "trantype": "S",
        "prctyp": "LMT",
        "ret": "DAY",
        "remarks": "Q0123456789abA",
        "ordersource": "API",
    }


def test_a_changed_order_in_norens_words() -> None:
    """``qty`` is the whole quantity, and a trigger price of 0 would be refused."""
    change = PriceChange("20052000000017", CALL, 130, Decimal("80.50"))
    request = ADAPTER.change_order(SESSION, change)
    assert (request.method, request.path) == ("POST", "/NorenWClientAPI/ModifyOrder")
    assert fields(request) == {
        "uid": "Z56004",
        "actid": "Z56004",
        "norenordno": "20052000000017",
        "exch": "NFO",
        "tsym": "NIFTY25AUG26C24400",
        "qty": "130",
        "prc": "80.5",
        "prctyp": "LMT",
        "ret": "DAY",
        "ordersource": "API",
    }


def test_an_ampersand_does_not_end_the_field() -> None:
    order = OrderRequest(
        tag="Q1",
        instrument=BrokerInstrument("NFO", "M&M25AUG26F", "1"),
        side=Side.BUY,
        quantity=1,
        product=Product.CARRY,
        price=Decimal(1),
    )
    request = ADAPTER.place_order(SESSION, order)
    assert b"&" not in request.body
    assert fields(request)["tsym"] == "M&M25AUG26F"


def test_the_login_page() -> None:
    url = ADAPTER.login_url("https://go.example", Credentials("Z56004", "Z56004_U", "s"), "st4te")
    assert url == "https://go.example/OAuthlogin/authorize/oauth?client_id=Z56004_U"
    assert not ADAPTER.capabilities.returns_login_state


def test_quotes_are_asked_one_by_one() -> None:
    index = ADAPTER.index_instrument("BANKNIFTY")
    assert index is not None
    asked = ADAPTER.quotes(SESSION, {"call": CALL, "spot": index})
    assert [keys for keys, _ in asked] == [("call",), ("spot",)]
    assert fields(asked[1][1]) == {"uid": "Z56004", "exch": "NSE", "token": "26009"}


@pytest.mark.parametrize(
    ("underlying", "token"), [("NIFTY", "26000"), ("BANKNIFTY", "26009"), ("FINNIFTY", "26037")]
)
def test_the_index_is_asked_for_by_token(underlying: str, token: str) -> None:
    instrument = ADAPTER.index_instrument(underlying)
    assert instrument is not None
    assert (instrument.exchange, instrument.token) == ("NSE", token)


# -- outcomes --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("response", "outcome", "cause"),
    [
        (answering({"stat": "Ok", "norenordno": "20052000000017"}), Outcome.ACCEPTED, None),
        (
            answering({"stat": "Not_Ok", "emsg": "Session Expired :  Invalid Session Key"}),
            Outcome.REFUSED,
            Cause.SESSION_EXPIRED,
        ),
        (
            answering({"stat": "Not_Ok", "emsg": "Session Expired : Invalid Session Key"}, 401),
            Outcome.REFUSED,
            Cause.SESSION_EXPIRED,
        ),
        (
            answering({"stat": "Not_Ok", "emsg": "Order Rate exceeds Limit"}, 429),
            Outcome.REFUSED,
            Cause.RATE_LIMIT,
        ),
        (answering({"stat": "Not_Ok", "emsg": "Server Timeout :"}), Outcome.UNKNOWN, None),
        (answering({"stat": "Not_Ok", "emsg": ""}), Outcome.UNKNOWN, None),
        (answering({"stat": "Not_Ok", "emsg": 7}), Outcome.UNKNOWN, None),
        (answering({"stat": "Not_Ok"}), Outcome.UNKNOWN, None),
        (answering({"stat": "Not_Ok", "emsg": "x", "norenordno": "1"}), Outcome.UNKNOWN, None),
        (answering({"stat": "Ok", "emsg": "x", "norenordno": "1"}), Outcome.UNKNOWN, None),
        (answering({"stat": "ok", "norenordno": "1"}), Outcome.UNKNOWN, None),
        (answering([{"stat": "Ok", "norenordno": "1"}]), Outcome.UNKNOWN, None),
        (answering({"stat": "Not_Ok", "emsg": "x"}, 500), Outcome.UNKNOWN, None),
        (HttpResponse(502, {}, b"<html>Bad Gateway</html>"), Outcome.UNKNOWN, None),
    ],
)
def test_outcomes(response: HttpResponse, outcome: Outcome, cause: Cause | None) -> None:
    result = ADAPTER.parse_place(response)
    assert result.outcome is outcome
    if cause is not None:
        assert result.cause is cause
    assert result.retryable == (cause is Cause.RATE_LIMIT)


# -- reads -----------------------------------------------------------------------------------
def test_the_book() -> None:
    book = ADAPTER.parse_order_book(written("order_book.json"))
    assert book.ok
    filled, open_, rejected, cancelled = book.orders
    assert (filled.state, filled.filled_quantity, filled.average_price) == (
        BookState.FILLED,
        130,
        Decimal("82.10"),
    )
    assert (filled.tag, filled.side, filled.message) == ("Q0000000000a1A", Side.SELL, "")
    assert (open_.state, open_.filled_quantity, open_.product) == (
        BookState.OPEN,
        0,
        Product.CARRY,
    )
    assert (rejected.state, rejected.cause) == (BookState.REJECTED, Cause.MARGIN)
    assert rejected.message.startswith("RED:Margin Shortfall")
    assert (cancelled.state, cancelled.filled_quantity) == (BookState.CANCELLED, 65)


def test_the_positions() -> None:
    read = ADAPTER.parse_positions(written("position_book.json"))
    assert [(p.symbol, p.product, p.quantity) for p in read.positions] == [
        ("NIFTY25AUG26C24400", Product.INTRADAY, -130),
        ("NIFTY25AUG26P24400", Product.CARRY, 65),
    ]
    assert [p.last_price for p in read.positions] == [Decimal("91.45"), None]


def test_a_quote() -> None:
    quote = ADAPTER.parse_quotes(written("quote.json"), ["call"], {"call": CALL}).quotes["call"]
    assert (quote.last_price, quote.bid, quote.ask) == (
        Decimal("82.05"),
        Decimal("82.00"),
        Decimal("82.15"),
    )
    assert quote.at == dt.datetime(2026, 8, 25, 3, 50, 1, tzinfo=dt.UTC)
    assert quote.traded_at == dt.datetime(2026, 8, 25, 3, 49, 58, tzinfo=dt.UTC)


def test_a_quote_of_another_instrument_is_not_ours() -> None:
    value = json.loads((DATA / "quote.json").read_text()) | {"token": "1"}
    read = ADAPTER.parse_quotes(answering(value), ["call"], {"call": CALL})
    assert (read.ok, dict(read.quotes)) == (True, {})


# -- instruments -----------------------------------------------------------------------------
def test_the_master_with_blank_contracts_and_trailing_commas() -> None:
    with (DATA / "NFO_symbols.txt").open() as lines:
        stream = ADAPTER.parse_instruments(lines)
        rows = list(stream)
    assert [row.symbol for row in rows] == [
        "NIFTY25AUG26C24400",
        "NIFTY25AUG26P24400",
        "NIFTY25AUG26F",
    ]
    assert (stream.read, stream.skipped) == (7, 4)
    future = rows[2]
    assert (future.option_type, future.strike, future.tick_size) == (
        "FUT",
        Decimal(0),
        Decimal("0.1"),
    )
    assert rows[0].token == rows[0].exchange_token == "52168"


def test_bse_product_codes_are_translated() -> None:
    with (DATA / "BFO_symbols.txt").open() as lines:
        rows = list(ADAPTER.parse_instruments(lines))
    assert [(row.exchange, row.underlying, row.lot_size) for row in rows] == [
        ("BFO", "SENSEX", 20),
        ("BFO", "BANKEX", 30),
    ]
