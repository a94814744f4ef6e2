"""Order updates as brokers document them, hostile ones, and what they prove."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, Cause, HttpResponse, OrderReport, Product, Session, Side
from brokers.order_updates import NOTHING, Said
from brokers.registry import get_adapter
from brokers.tests.update_frames import NOREN, spoken

SESSION = Session(client_id="Z56004", api_key="k", access_token="tok")
#: As listed for postbacks and text messages: https://kite.trade/docs/connect/v3/postbacks/
KITE_ROW: dict[str, Any] = {
    "user_id": "Z56004",
    "unfilled_quantity": 0,
    "app_id": 1234,
    "checksum": "",
    "placed_by": "Z56004",
    "order_id": "220303000308932",
    "exchange_order_id": "1000000001482421",
    "status": "COMPLETE",
    "status_message": None,
    "order_timestamp": "2026-09-08 09:24:25",
    "exchange_timestamp": "2026-09-08 09:24:25",
    "variety": "regular",
    "exchange": "NFO",
    "tradingsymbol": "NIFTY2690825000CE",
    "order_type": "LIMIT",
    "transaction_type": "BUY",
    "product": "MIS",
    "quantity": 130,
    "price": 128.5,
    "average_price": 127.23,
    "filled_quantity": 130,
    "pending_quantity": 0,
    "cancelled_quantity": 0,
    "tag": "Q0123456789AB1",
}
KITE: dict[str, Any] = {"type": "order", "data": KITE_ROW}


def update_of(frame: dict[str, Any], kind: str = "zebu") -> Said:
    return spoken(kind).read(json.dumps(frame), SESSION)


# -- Noren ---------------------------------------------------------------------------------------
def test_noren_is_asked_for_orders_after_its_login() -> None:
    noren = spoken("zebu")
    assert json.loads(noren.hello(SESSION))["t"] == "a"
    said = noren.read('{"t":"ak","uid":"Z56004","s":"OK"}', SESSION)
    assert json.loads(said.reply) == {"t": "o", "actid": "Z56004"}
    assert not said.ready
    assert noren.read('{"t":"ok"}', SESSION).ready


def test_noren_says_why_it_lets_nobody_in() -> None:
    said = update_of({"t": "ak", "s": "NOT_OK", "emsg": "Session Expired"})
    assert (said.refused, said.ready, said.reply) == ("Session Expired", False, "")


def test_a_fill_that_noren_tells_of() -> None:
    assert update_of(NOREN).order == OrderReport(
        broker_order_id="20121300062715",
        tag="Q0123456789AB1",
        state=BookState.FILLED,
        quantity=130,
        filled_quantity=130,
        average_price=Decimal("127.23"),
        symbol="NIFTY08SEP26C25000",
        exchange="NFO",
        side=Side.BUY,
        product=Product.INTRADAY,
        price=Decimal(127230),  # its documents' own sample: not in rupees
    )


def test_an_update_is_read_as_a_row_of_the_book() -> None:
    row = {key: value for key, value in NOREN.items() if key != "t"} | {"stat": "Ok"}
    body = json.dumps([row]).encode()
    (book_row,) = get_adapter("zebu").parse_order_book(HttpResponse(200, {}, body)).orders
    assert update_of(NOREN).order == book_row


@pytest.mark.parametrize(
    ("changes", "state", "filled"),
    [
        ({"status": "PENDING", "reporttype": "NewAck", "fillshares": ""}, BookState.SUBMITTED, 0),
        ({"status": "OPEN", "reporttype": "Fill", "fillshares": "65"}, BookState.OPEN, 65),
        ({"status": "CANCELED", "fillshares": "65"}, BookState.CANCELLED, 65),
        ({"status": "COMPLETE", "fillshares": "65"}, BookState.OTHER, 0),  # half-written
        ({"status": "COMPLETE", "avgprc": "1e9"}, BookState.OTHER, 0),
        ({"status": "GONE FISHING"}, BookState.OTHER, 130),
    ],
    ids=["new", "part", "cancelled", "half", "absurd", "unheard-of"],
)
def test_states_of_a_noren_update(changes: dict[str, str], state: BookState, filled: int) -> None:
    order = update_of(NOREN | changes).order
    assert order is not None
    assert (order.state, order.filled_quantity) == (state, filled)


def test_a_rejection_has_its_cause() -> None:
    order = update_of(
        NOREN
        | {"status": "REJECTED", "rejreason": "RED:Margin Shortfall", "fillshares": "0"}
        | {"avgprc": "0.00"}
    ).order
    assert order is not None
    assert (order.state, order.cause) == (BookState.REJECTED, Cause.MARGIN)


def test_an_order_of_another_client_is_nothing() -> None:
    assert update_of(NOREN | {"actid": "Z99999"}) == NOTHING
    assert update_of(NOREN | {"uid": "Z99999"}) == NOTHING
    assert update_of(NOREN | {"norenordno": "../../etc"}) == NOTHING


# -- Kite ----------------------------------------------------------------------------------------
def test_a_fill_that_kite_tells_of_is_a_row_of_its_book() -> None:
    order = update_of(KITE, "zerodha").order
    body = json.dumps({"status": "success", "data": [KITE_ROW]}).encode()
    (book_row,) = get_adapter("zerodha").parse_order_book(HttpResponse(200, {}, body)).orders
    assert order == book_row
    assert order is not None
    assert (order.state, order.filled_quantity) == (BookState.FILLED, 130)
    assert order.average_price == Decimal("127.23")


def test_kite_is_ready_when_it_is_open() -> None:
    kite = spoken("zerodha")
    assert kite.hello(SESSION) == ""
    assert kite.path(SESSION) == "/?api_key=k&access_token=tok"


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "error", "data": "Invalid session"},
        {"type": "message", "data": "hello"},
        {"type": "order", "data": "220303000308932"},
        {"type": "order", "data": KITE_ROW | {"user_id": "XY9999"}},
        {"type": "order", "data": KITE_ROW | {"order_id": 3}},
        {"type": "order"},
    ],
    ids=["error", "message", "no row", "another client", "no id", "nothing"],
)
def test_kite_frames_that_are_no_order_of_ours(frame: dict[str, Any]) -> None:
    assert update_of(frame, "zerodha") == NOTHING


def test_kites_prices_and_heartbeats_are_no_orders() -> None:
    assert spoken("zerodha").read(b"\x00", SESSION) == NOTHING


def test_a_part_that_kite_tells_of() -> None:
    part = KITE_ROW | {"status": "UPDATE", "filled_quantity": 65, "unfilled_quantity": 65}
    order = update_of({"type": "order", "data": part}, "zerodha").order
    assert order is not None
    assert (order.state, order.filled_quantity) == (BookState.OPEN, 65)


# -- all of them ---------------------------------------------------------------------------------
VALUES = st.text(max_size=20) | st.none() | st.integers() | st.floats() | st.lists(st.integers())
KNOWN = sorted(NOREN | KITE_ROW)
SEEN = sorted({str(value) for row in (NOREN, KITE_ROW) for value in row.values()})


@pytest.mark.parametrize("kind", ["zebu", "zerodha"])
@given(
    fields=st.dictionaries(st.sampled_from(KNOWN), VALUES | st.sampled_from(SEEN)),
    junk=st.text(max_size=60) | st.binary(max_size=200),
    kept=st.booleans(),
)
def test_no_frame_raises_or_makes_figures_of_nonsense(
    kind: str, fields: dict[str, Any], junk: str | bytes, kept: bool
) -> None:
    row = ((NOREN if kind == "zebu" else KITE_ROW) if kept else {}) | fields
    whole = row if kind == "zebu" else {"type": "order", "data": row}
    for frame in (json.dumps(whole), junk):
        said = spoken(kind).read(frame, SESSION)
        order = said.order
        if order is not None:
            assert 0 <= order.filled_quantity <= order.quantity
            assert order.average_price.is_finite()
            assert order.filled_quantity == 0 or order.average_price > 0
            assert order.state is not BookState.FILLED or order.filled_quantity == order.quantity


def test_what_is_too_long_is_not_read() -> None:
    assert update_of(NOREN | {"rejreason": "x" * 70_000}) == NOTHING


@pytest.mark.parametrize("report", ["ReplaceRejected", "CancelRejected", "replacerejected"])
def test_a_refused_change_does_not_end_the_order_it_was_for(report: str) -> None:
    """Read as the order's own end, it would have another one sent beside an order that rests."""
    frame = NOREN | {"status": "REJECTED", "reporttype": report, "fillshares": "", "avgprc": ""}
    said = update_of(frame | {"prc": "127.20", "rejreason": "SAF:order is not open to modify"})
    assert said.order is not None
    assert (said.order.state, said.order.tag) == (BookState.OTHER, "Q0123456789AB1")
    assert not said.order.state.is_terminal
    own = update_of(frame | {"reporttype": "Rejected"})
    assert own.order is not None
    assert own.order.state is BookState.REJECTED, "and the order's own rejection is one"


def test_a_changed_order_is_the_same_order_at_another_price() -> None:
    frame = NOREN | {"status": "OPEN", "reporttype": "Replaced", "prc": "80.50"}
    said = update_of(frame | {"fillshares": "", "avgprc": ""})
    row = KITE_ROW | {"status": "UPDATE", "price": 80.5, "filled_quantity": 0, "average_price": 0}
    kite = update_of({"type": "order", "data": row}, "zerodha")
    for order in (said.order, kite.order):
        assert order is not None
        assert (order.state, order.price, order.quantity) == (BookState.OPEN, Decimal("80.5"), 130)
        assert order.tag == "Q0123456789AB1"
