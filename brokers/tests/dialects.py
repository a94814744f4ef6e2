"""Each broker's wire format, for tests that apply to all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from brokers.base import (
    BrokerAdapter,
    BrokerInstrument,
    HttpResponse,
    OrderRequest,
    PriceChange,
    Product,
    Session,
    Side,
)
from brokers.registry import get_adapter

SESSION = Session(client_id="AB1234", api_key="key1", access_token="tok1", algo_id="ALGO7")
INSTRUMENT = BrokerInstrument("NFO", "NIFTY26AUG24400CE", "52168")
ORDER = OrderRequest(
    tag="Q0123456789abA",
    instrument=INSTRUMENT,
    side=Side.SELL,
    quantity=130,
    product=Product.INTRADAY,
    price=Decimal("81.30"),
)


CHANGE = PriceChange(
    broker_order_id="151220000000000",
    instrument=INSTRUMENT,
    quantity=130,
    price=Decimal("80.50"),
)


#: Words in which something could be read that was not said.
TELL_TALES = st.sampled_from(
    [
        *("Too many requests", "rate limit", "exceeds Limit", "try again later", "429", "retry"),
        *("throttle", "timed out", "margin", "no data", "status", "Ok", "success"),
    ]
)


def answer(status: int, value: Any) -> HttpResponse:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpResponse(status, {"content-type": "application/json"}, body)


@dataclass(frozen=True)
class Dialect:
    """One broker's wire format for everything that the conformance tests check."""

    kind: str
    accepted: HttpResponse
    cancelled: HttpResponse
    changed: HttpResponse
    refused: Callable[[str], HttpResponse]
    empty_book: HttpResponse
    empty_positions: HttpResponse
    row: Callable[[str, str], Any]
    book: Callable[[list[Any]], HttpResponse]
    token: HttpResponse
    token_refused: HttpResponse
    owner: HttpResponse


def _kite_refusal(message: str, kind: str = "InputException", status: int = 400) -> HttpResponse:
    return answer(status, {"status": "error", "message": message, "error_type": kind, "data": None})


def _kite_row(tag: str, status: str) -> dict[str, Any]:
    return {
        "order_id": "260825000000001",
        "status": {"CANCELED": "CANCELLED"}.get(status, status),
        "status_message": "",
        "exchange": "NFO",
        "tradingsymbol": "NIFTY26AUG24400CE",
        "transaction_type": "SELL",
        "product": "MIS",
        "quantity": 130,
        "price": 81.3,
        "filled_quantity": 130 if status == "COMPLETE" else 0,
        "average_price": 81.35 if status == "COMPLETE" else 0,
        "tag": tag,
        "tags": [tag],
    }


def _noren_row(tag: str, status: str) -> dict[str, Any]:
    row = {
        "stat": "Ok",
        "norenordno": "26082500000101",
        "status": status,
        "exch": "NFO",
        "tsym": "NIFTY26AUG24400CE",
        "trantype": "S",
        "prd": "I",
        "qty": "130",
        "prc": "81.30",
        "remarks": tag,
    }
    return row | ({"fillshares": "130", "avgprc": "81.35"} if status == "COMPLETE" else {})


NO_DATA_BODY = {
    "stat": "Not_Ok",
    "request_time": "14:14:11 26-05-2020",
    "emsg": 'Error Occurred : 5 "no data"',
}
NO_DATA = answer(200, NO_DATA_BODY)

DIALECTS = (
    Dialect(
        kind="zerodha",
        accepted=answer(200, {"status": "success", "data": {"order_id": "151220000000000"}}),
        cancelled=answer(200, {"status": "success", "data": {"order_id": "151220000000000"}}),
        changed=answer(200, {"status": "success", "data": {"order_id": "151220000000000"}}),
        refused=_kite_refusal,
        empty_book=answer(200, {"status": "success", "data": []}),
        empty_positions=answer(200, {"status": "success", "data": {"net": [], "day": []}}),
        row=_kite_row,
        book=lambda rows: answer(200, {"status": "success", "data": rows}),
        token=answer(
            200, {"status": "success", "data": {"access_token": "T0k", "user_id": "AB1234"}}
        ),
        token_refused=_kite_refusal(
            "Token is invalid or has expired.", kind="TokenException", status=403
        ),
        owner=answer(200, {"status": "success", "data": {"user_id": "AB1234"}}),
    ),
    Dialect(
        kind="zebu",
        accepted=answer(200, {"stat": "Ok", "norenordno": "20052000000017"}),
        cancelled=answer(200, {"stat": "Ok", "result": "20052000000017"}),
        changed=answer(200, {"stat": "Ok", "result": "20052000000017"}),
        refused=lambda message: answer(200, {"stat": "Not_Ok", "emsg": message}),
        empty_book=NO_DATA,
        empty_positions=NO_DATA,
        row=_noren_row,
        book=lambda rows: answer(200, rows),
        token=answer(
            200, {"stat": "Ok", "access_token": "T0k", "USERID": "AB1234", "actid": "AB1234"}
        ),
        token_refused=answer(200, {"stat": "Not_Ok", "emsg": "Invalid code"}),
        owner=answer(200, {"stat": "Ok", "actid": "AB1234", "cliname": "ASHA"}),
    ),
)

every_broker = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.kind)


def adapter_of(dialect: Dialect) -> BrokerAdapter:
    return get_adapter(dialect.kind)


# -- requests --------------------------------------------------------------------------------
