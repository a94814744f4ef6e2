"""What every broker adapter reads, in the broker's own wire format: books, positions, logins.

test_adapter_conformance covers what an order's answer proves.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import BookState, HttpResponse, OwnerRead, Product, Side
from brokers.registry import get_adapter
from brokers.tests.dialects import (
    INSTRUMENT,
    NO_DATA,
    NO_DATA_BODY,
    SESSION,
    TELL_TALES,
    Dialect,
    adapter_of,
    answer,
    every_broker,
)

NO_FIGURES: list[Any] = ["", None, "-1", "1e9999999", "NaN", []]
NO_PRICES: list[Any] = ["", None, 0, "-1", "1e999", "NaN", [], "600000"]
#: What the brokers call the figures of a filled row.
FIGURES = {
    "fills": {"filled_quantity", "fillshares"},
    "price": {"average_price", "avgprc"},
}


# -- reads -----------------------------------------------------------------------------------
@every_broker
def test_an_empty_book_is_a_successful_read(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    book = adapter.parse_order_book(dialect.empty_book)
    assert (book.ok, tuple(book.orders)) == (True, ())
    positions = adapter.parse_positions(dialect.empty_positions)
    assert (positions.ok, tuple(positions.positions)) == (True, ())


@every_broker
@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(200, {}, b""),
        HttpResponse(200, {}, b"null"),
        HttpResponse(200, {}, b"{}"),
        HttpResponse(200, {}, b"<html>"),
        HttpResponse(200, {}, b"[" * 100_000),
        HttpResponse(200, {}, b'[{"stat":"Ok"}]'),
        HttpResponse(200, {}, b'{"status":"success","data":[1]}'),
        HttpResponse(200, {}, b'{"status":"success","data":{"net":[{}]}}'),
        HttpResponse(200, {}, b'{"stat":"Not_Ok","emsg":"Session Expired : Invalid Session Key"}'),
        HttpResponse(403, {}, b'{"status":"error","error_type":"TokenException","message":"x"}'),
        HttpResponse(429, {}, b""),
        HttpResponse(502, {}, b"<html>"),
        HttpResponse(502, {}, b"[]"),
        HttpResponse(500, {}, NO_DATA.body),
        # what a broker says when it could not look proves no absence
        answer(200, {"stat": "Not_Ok", "emsg": "no database connection"}),
        answer(200, {"stat": "Not_Ok", "emsg": "No Data received from OMS"}),
        answer(200, {"stat": "Not_Ok", "emsg": "no data"}),
        answer(200, {"stat": "Not_Ok", "emsg": 'Service unavailable: "no data"'}),
        answer(200, {"stat": "Not_Ok", "emsg": 'Error Occurred : 5 "no data" from cache'}),
        answer(200, {"stat": "Not_Ok", "emsg": 'Error Occurred : 1 "no data"'}),
        answer(200, {"stat": "Ok", "emsg": 'Error Occurred : 5 "no data"'}),
        answer(200, {"stat": "Not_Ok", "emsg": 'Error Occurred : 5 "no data"', "norenordno": "1"}),
        answer(200, [NO_DATA_BODY]),
        answer(200, []),
        answer(200, {"status": "success", "data": None}),
        answer(200, {"status": "success", "data": {}}),
        answer(200, {"status": "error", "data": [], "message": "no data"}),
    ],
    ids=lambda response: f"{response.status}-{response.body[:24]!r}",
)
def test_a_failed_read_is_never_an_empty_book_or_flat(
    dialect: Dialect, response: HttpResponse
) -> None:
    adapter = adapter_of(dialect)
    assert not adapter.parse_order_book(response).ok
    assert adapter.parse_order_book(response).cause is not None
    assert not adapter.parse_positions(response).ok
    assert not adapter.parse_quotes(response, ["k"], {"k": INSTRUMENT}).ok or not (
        adapter.parse_quotes(response, ["k"], {"k": INSTRUMENT}).quotes
    )


@every_broker
@given(message=st.text(max_size=60) | st.lists(TELL_TALES, max_size=4).map(" ".join))
def test_no_other_sentence_is_an_empty_book(dialect: Dialect, message: str) -> None:
    for body in (
        {"stat": "Not_Ok", "emsg": message},
        {"status": "error", "message": message, "error_type": "DataException", "data": []},
    ):
        assert not adapter_of(dialect).parse_order_book(answer(200, body)).ok
        assert not adapter_of(dialect).parse_positions(answer(200, body)).ok


@every_broker
@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("OPEN", BookState.OPEN),
        ("COMPLETE", BookState.FILLED),
        ("CANCELED", BookState.CANCELLED),
        ("REJECTED", BookState.REJECTED),
        ("TRIGGER_PENDING", BookState.TRIGGER_PENDING),
        ("trigger pending", BookState.TRIGGER_PENDING),
        ("SOMETHING NEW", BookState.OTHER),
        ("", BookState.OTHER),
    ],
)
def test_book_states(dialect: Dialect, status: str, state: BookState) -> None:
    rows = [dialect.row("Q0123456789abA", status)]
    book = adapter_of(dialect).parse_order_book(dialect.book(rows))
    assert book.ok
    assert book.orders[0].state is state


@every_broker
@given(tag=st.from_regex(r"Q[0-9a-z]{12}[0-9A-Z]", fullmatch=True))
def test_a_tag_comes_back_as_it_went_out(dialect: Dialect, tag: str) -> None:
    book = adapter_of(dialect).parse_order_book(dialect.book([dialect.row(tag, "COMPLETE")]))
    row = book.orders[0]
    assert (row.tag, row.side, row.product) == (tag, Side.SELL, Product.INTRADAY)
    assert (row.quantity, row.filled_quantity, row.average_price) == (130, 130, Decimal("81.35"))
    assert not BookState.OTHER.is_terminal


@every_broker
@pytest.mark.parametrize(
    ("figure", "value"),
    [
        *(("fills", value) for value in (*NO_FIGURES, "65", "131", 0.5)),
        *(("price", value) for value in (*NO_FIGURES, "0")),
    ],
    ids=str,
)
def test_a_contradictory_filled_row_is_read_again(
    dialect: Dialect, figure: str, value: Any
) -> None:
    """FILLED, but the fills disagree or have no price."""
    row = dialect.row("Q0123456789abA", "COMPLETE")
    (field,) = row.keys() & FIGURES[figure]
    (order,) = adapter_of(dialect).parse_order_book(dialect.book([row | {field: value}])).orders
    assert (order.state, order.filled_quantity) == (BookState.OTHER, 0)


@every_broker
@pytest.mark.parametrize(
    ("value", "price"),
    [
        ("81.30", Decimal("81.30")),
        (81, Decimal(81)),
        *((junk, None) for junk in NO_PRICES),
    ],
    ids=str,
)
def test_a_book_says_at_which_price_an_order_rests(
    dialect: Dialect, value: Any, price: Decimal | None
) -> None:
    row = dialect.row("Q0123456789abA", "OPEN")
    field = "price" if "price" in row else "prc"
    book = adapter_of(dialect).parse_order_book(dialect.book([row | {field: value}]))
    assert (book.orders[0].price, book.orders[0].state) == (price, BookState.OPEN)


# -- login -----------------------------------------------------------------------------------
@every_broker
def test_a_token_answer_is_a_session_a_refusal_or_unknown(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    good = adapter.parse_token(dialect.token)
    assert (good.access_token, good.client_id, good.error, good.unknown) == (
        "T0k",
        "AB1234",
        "",
        False,
    )
    refused = adapter.parse_token(dialect.token_refused)
    assert refused.error
    assert (refused.access_token, refused.unknown) == ("", False)
    for response in (HttpResponse(502, {}, b"<html>"), HttpResponse(200, {}, b"{}")):
        assert adapter.parse_token(response).unknown


@every_broker
def test_whose_session_it_is_is_named_refused_or_unknown(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    assert b"tok1" in str(adapter.owner(SESSION)).encode()
    assert adapter.parse_owner(dialect.owner) == OwnerRead(client_id="AB1234")
    refused = adapter.parse_owner(dialect.token_refused)
    assert refused.error
    assert not refused.client_id
    for cut in range(len(dialect.owner.body)):
        assert adapter.parse_owner(HttpResponse(200, {}, dialect.owner.body[:cut])).unknown
    for response in (HttpResponse(502, {}, b"<html>"), HttpResponse(500, {}, dialect.owner.body)):
        assert adapter.parse_owner(response).unknown


@every_broker
def test_a_token_that_would_break_a_header_is_no_token(dialect: Dialect) -> None:
    body = dialect.token.body.replace(b"T0k", b"T0k\\r\\nX-Evil: 1")
    assert adapter_of(dialect).parse_token(HttpResponse(200, {}, body)).access_token == ""


@pytest.mark.parametrize(
    ("kind", "now", "dies"),
    [
        ("zerodha", "2026-08-25T08:00:00+05:30", "2026-08-26T06:00:00+05:30"),
        ("zerodha", "2026-08-25T05:59:59+05:30", "2026-08-25T06:00:00+05:30"),
        ("zerodha", "2026-08-25T06:00:00+05:30", "2026-08-26T06:00:00+05:30"),
        ("zebu", "2026-08-25T08:00:00+05:30", "2026-08-26T05:00:00+05:30"),
        ("zebu", "2026-12-31T23:59:59+05:30", "2027-01-01T05:00:00+05:30"),
    ],
)
def test_tokens_die_at_the_brokers_hour(kind: str, now: str, dies: str) -> None:
    expiry = get_adapter(kind).token_expiry(dt.datetime.fromisoformat(now))
    assert expiry == dt.datetime.fromisoformat(dies)
    assert expiry.utcoffset() == dt.timedelta(0)
