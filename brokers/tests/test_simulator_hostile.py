"""Whatever a client sends, the wires answer in their envelope, and a bad order never exists."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.simulator.wire import FORM
from brokers.tests.driven_simulator import API_KEY, DrivenSimulator

HOUSE = DrivenSimulator()
ATM = HOUSE.atm()

WORDS = (
    "", "0", "-1", "65", "1e5", "1E-900", "NaN", "sNaN", "Infinity", "0.05", "٦٥", "9" * 40,
    "BUY", "B", "LIMIT", "LMT", "SL", "SL-LMT", "MARKET", "MKT", "MIS", "I", "DAY", "IOC", "NFO",
    ATM.kite_symbol, ATM.noren_symbol, "\x00", "None",
)  # fmt: skip
KITE_PATHS = (
    "/", "/orders", "/orders/regular", "/orders/regular/1", "/orders/1/trades", "/session/token",
    "/quote", "/quote/ltp", "/portfolio/positions", "/user/margins/equity", "/instruments/X",
)  # fmt: skip
NOREN_OPERATIONS = (
    "ModifyOrder", "CancelOrder", "OrderBook", "SingleOrdHist", "TradeBook", "PositionBook",
    "Limits", "GetQuotes", "SearchScrip", "GetSecurityInfo",
)  # fmt: skip
odd = st.one_of(st.text(max_size=12), st.sampled_from(WORDS))
KITE_FIELDS = (
    "exchange", "tradingsymbol", "transaction_type", "quantity", "product", "order_type",
    "price", "trigger_price", "validity", "tag", "market_protection",
)  # fmt: skip
NOREN_FIELDS = (
    "exch", "tsym", "qty", "prc", "trgprc", "prd", "trantype", "prctyp", "ret", "remarks",
    "mkt_protection", "norenordno", "token", "stext",
)  # fmt: skip


def _changes(names: tuple[str, ...]) -> Any:
    return st.dictionaries(st.sampled_from(names), odd, max_size=4)


def _all_is_well() -> None:
    """Every order that got in obeys the rules; the clock moves on so that nobody is limited."""
    HOUSE.forward(1)
    for order in HOUSE.exchange.book.orders:
        assert order.quantity % order.contract.lot_size == 0
        assert 0 < order.quantity <= order.contract.freeze_quantity
        assert order.price % order.contract.tick == 0
        assert 0 <= order.filled <= order.quantity
    HOUSE.control("POST", "/reset", sessions=False)
    HOUSE.now = HOUSE.now.replace(hour=5, minute=0, second=0)


@settings(deadline=None)
@given(changes=_changes(KITE_FIELDS))
def test_odd_kite_orders(changes: dict[str, str]) -> None:
    status, body = HOUSE.kite_place(**changes)
    assert (status, body["status"]) in {(200, "success"), (400, "error")}
    _all_is_well()


@settings(deadline=None)
@given(changes=_changes(NOREN_FIELDS))
def test_odd_noren_orders(changes: dict[str, str]) -> None:
    status, body = HOUSE.noren_place(**changes)
    assert status == 200
    assert body["stat"] in ("Ok", "Not_Ok")
    _all_is_well()


@settings(deadline=None)
@given(changes=_changes(("quantity", "price", "trigger_price", "order_type")))
def test_odd_kite_changes(changes: dict[str, str]) -> None:
    order_id = HOUSE.kite_place(price=HOUSE.resting_price(), quantity=130)[1]["data"]["order_id"]
    HOUSE.forward(0.03)
    status, _ = HOUSE.kite("PUT", f"/orders/regular/{order_id}", **changes)
    assert status in (200, 400)
    _all_is_well()


@settings(deadline=None)
@given(
    operation=st.sampled_from(NOREN_OPERATIONS),
    fields=_changes(NOREN_FIELDS),
)
def test_odd_noren_calls(operation: str, fields: dict[str, str]) -> None:
    number = HOUSE.noren_place(prc=str(HOUSE.resting_price()))[1]["norenordno"]
    HOUSE.forward(0.03)
    status, body = HOUSE.noren(operation, **({"norenordno": number} | fields))
    assert status in (200, 400)
    assert isinstance(body, list) or body["stat"] in ("Ok", "Not_Ok")
    _all_is_well()


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.sampled_from(KITE_PATHS),
    query=st.dictionaries(st.sampled_from(["i", "api_key"]), odd, max_size=2),
    body=st.binary(max_size=60),
    token=st.booleans(),
)
def test_odd_kite_requests(
    method: str, path: str, query: dict[str, str], body: bytes, token: bool
) -> None:
    login = f"token {API_KEY}:{HOUSE.token('zerodha', 'AB1234') if token else 'é'}"
    headers = {"Authorization": login, "Content-Type": FORM}
    target = f"{path}?{urlencode(query)}"
    answer = HOUSE.send(HOUSE.kite_wire, method, target, body, headers)
    assert answer.status < 500
    assert json.loads(answer.body)["status"] in ("success", "error")


@settings(deadline=None)
@given(body=st.one_of(st.binary(max_size=60), odd.map(lambda text: f"jData={text}".encode())))
def test_odd_noren_bodies(body: bytes) -> None:
    for operation in ("PlaceOrder", "GenAcsTok", "OrderBook"):
        path = f"/NorenWClientAPI/{operation}"
        answer = HOUSE.send(HOUSE.noren_wire, "POST", path, body)
        assert answer.status == 200
        assert json.loads(answer.body)["stat"] == "Not_Ok"
