"""The conformance tests of every broker adapter: same questions, each in the broker's own wire
format.

docs/brokers/adapters.md says what an answer proves.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import (
    Cause,
    Credentials,
    HttpResponse,
    OrderRequest,
    OrderType,
    Outcome,
    PriceChange,
    Session,
)
from brokers.registry import get_adapter
from brokers.tests.dialects import (
    CHANGE,
    INSTRUMENT,
    ORDER,
    SESSION,
    TELL_TALES,
    Dialect,
    adapter_of,
    answer,
    every_broker,
)


@every_broker
def test_the_same_order_is_the_same_bytes(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    once, again = adapter.place_order(SESSION, ORDER), adapter.place_order(SESSION, ORDER)
    assert once == again
    assert list(once.headers.items()) == list(again.headers.items())
    for part in (b"Q0123456789abA", b"81.3", b"ALGO7"):
        assert part in once.body
    # the sender's own headers, and none that a value could have broken
    assert not {"host", "connection", "content-length"} & {name.lower() for name in once.headers}
    assert all(text.isascii() and text.isprintable() for text in once.headers.values())
    assert once.path.startswith("/")


@every_broker
@pytest.mark.parametrize(
    "wrong",
    [
        {"tag": "Q-1"},
        {"tag": "Q" * 21},
        {"quantity": 0},
        {"price": None},
        {"price": Decimal(0)},
    ],
    ids=str,
)
def test_an_order_that_can_not_be_carried_is_our_bug(
    dialect: Dialect, wrong: dict[str, Any]
) -> None:
    fields = {name: getattr(ORDER, name) for name in ORDER.__slots__} | wrong
    with pytest.raises(ValueError, match=r"tag|quantity|price"):
        adapter_of(dialect).place_order(SESSION, OrderRequest(**fields))


@every_broker
def test_a_change_names_only_the_order_and_its_price(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    change = adapter.change_order(SESSION, CHANGE)
    assert change == adapter.change_order(SESSION, CHANGE)
    said = change.path.encode() + change.body
    for part in (b"151220000000000", b"80.5"):
        assert part in said
    # neither a tag nor a side: nothing in it could be read as a new order
    for part in (ORDER.tag.encode(), b"transaction_type", b"trantype", b"remarks"):
        assert part not in said
    assert change.path != adapter.place_order(SESSION, ORDER).path


@every_broker
@pytest.mark.parametrize(
    "wrong",
    [
        {"broker_order_id": ""},
        {"quantity": 0},
        {"price": Decimal(0)},
        {"price": Decimal("NaN")},
    ],
    ids=str,
)
def test_a_change_that_can_be_no_orders_is_our_bug(dialect: Dialect, wrong: dict[str, Any]) -> None:
    fields = {name: getattr(CHANGE, name) for name in CHANGE.__slots__} | wrong
    with pytest.raises(ValueError, match=r"id|quantity|price"):
        adapter_of(dialect).change_order(SESSION, PriceChange(**fields))


def test_market_orders_only_where_the_broker_protects_them() -> None:
    fields = {name: getattr(ORDER, name) for name in ORDER.__slots__}
    market = OrderRequest(
        **(fields | {"order_type": OrderType.MARKET_WITH_PROTECTION, "price": None})
    )
    body = get_adapter("zerodha").place_order(SESSION, market).body
    assert b"market_protection=-1" in body
    with pytest.raises(ValueError, match="market"):
        get_adapter("zebu").place_order(SESSION, market)


@every_broker
def test_secrets_do_not_show_in_a_repr(dialect: Dialect) -> None:
    credentials = Credentials("AB1234", "key-shown-nowhere", "secret-shown-nowhere")
    assert "shown-nowhere" not in repr(credentials) + repr(
        Session("AB1234", "key-shown-nowhere", "token-shown-nowhere")
    )
    assert "secret-shown-nowhere" not in adapter_of(dialect).login_url(
        "https://login.example", credentials, "st4te"
    )


# -- outcomes --------------------------------------------------------------------------------
@every_broker
def test_an_order_id_is_an_acceptance(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    placed = adapter.parse_place(dialect.accepted)
    assert placed.outcome is Outcome.ACCEPTED
    assert placed.broker_order_id.isdigit()
    assert adapter.parse_cancel(dialect.cancelled).outcome is Outcome.ACCEPTED
    changed = adapter.parse_change(dialect.changed)
    assert (changed.outcome, changed.broker_order_id.isdigit()) == (Outcome.ACCEPTED, True)


@every_broker
def test_a_change_is_refused_in_words_and_unknown_without_them(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    words = "Order cannot be modified as it is being processed. Order is COMPLETE"
    refused = adapter.parse_change(dialect.refused(words))
    assert (refused.outcome, refused.message, refused.retryable) == (Outcome.REFUSED, words, False)
    for status in (301, 404, 500, 502, 504):
        for body in (b"", b"<html>", dialect.changed.body, dialect.refused(words).body):
            unknown = adapter.parse_change(HttpResponse(status, {}, body))
            assert unknown.outcome is Outcome.UNKNOWN
    for cut in range(len(dialect.changed.body)):
        half = HttpResponse(200, {}, dialect.changed.body[:cut])
        assert adapter.parse_change(half).outcome is Outcome.UNKNOWN


@every_broker
@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Insufficient funds. Required margin is 95417.84", Cause.MARGIN),
        ("RED:Margin Shortfall:INR 12.00", Cause.MARGIN),
        ("Order price is outside the daily circuit limits", Cause.PRICE_BAND),
        ("Quantity exceeds freeze quantity of the contract", Cause.FREEZE),
        ("Session Expired : Invalid Session Key", Cause.SESSION_EXPIRED),
        ("No IPs configured for this app.", Cause.IP_NOT_REGISTERED),
        ("1.2.3.4 is not allowed to place orders for this app", Cause.IP_NOT_REGISTERED),
        ("The F&O segment is not enabled for this account", Cause.SEGMENT),
        ("MIS product is blocked for this contract", Cause.PRODUCT),
        ("Markets are closed right now", Cause.MARKET_CLOSED),
        ('Error Occurred : 2 "invalid input"', Cause.INVALID),
        ("The moon is full", None),
    ],
)
def test_a_documented_refusal_proves_that_no_order_exists(
    dialect: Dialect, message: str, cause: Cause | None
) -> None:
    result = adapter_of(dialect).parse_place(dialect.refused(message))
    assert result.outcome is Outcome.REFUSED
    assert result.message == message
    assert not result.retryable
    if cause is not None:
        assert result.cause is cause


@every_broker
@pytest.mark.parametrize(
    "message",
    [
        *("Server Timeout :", "Request timed out", "OMS timeout", "Gateway busy"),
        *("no database connection", "No Data received from OMS", 'Error Occurred : 5 "no data"'),
        'Error Occurred : 1 "unknown request"',
    ],
)
def test_a_refusal_that_speaks_of_a_broken_system_proves_nothing(
    dialect: Dialect, message: str
) -> None:
    result = adapter_of(dialect).parse_place(dialect.refused(message))
    assert result.outcome is Outcome.UNKNOWN


@every_broker
def test_too_many_requests_may_be_tried_again(dialect: Dialect) -> None:
    for body in (b"", b"<html>429</html>", b'{"status":"error","message":"Too many requests"}'):
        result = adapter_of(dialect).parse_place(HttpResponse(429, {}, body))
        assert result.outcome is Outcome.REFUSED
        assert result.cause is Cause.RATE_LIMIT
        assert result.retryable


@every_broker
@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Order value exceeds limit set for the client", Cause.RISK),
        ("Single order quantity exceeds limit", Cause.FREEZE),
        ("Order Recieved 11 in a current second exceeds Limit 10 for user", Cause.RATE_LIMIT),
        ("Too many requests", Cause.RATE_LIMIT),
    ],
)
def test_no_text_makes_a_refusal_retryable(dialect: Dialect, message: str, cause: Cause) -> None:
    result = adapter_of(dialect).parse_place(dialect.refused(message))
    assert (result.outcome, result.cause) == (Outcome.REFUSED, cause)
    assert not result.retryable


@every_broker
@given(
    message=st.text(max_size=60) | st.lists(TELL_TALES, max_size=4).map(" ".join),
    status=st.sampled_from([200, 400, 401, 403, 429, 500, 503]) | st.integers(100, 599),
    kind=st.sampled_from(["InputException", "NetworkException", "OrderException", "", "429"]),
)
def test_only_a_documented_status_is_retryable_whatever_the_text(
    dialect: Dialect, message: str, status: int, kind: str
) -> None:
    for body in (
        {"stat": "Not_Ok", "emsg": message},
        {"status": "error", "message": message, "error_type": kind, "data": None},
        message,
    ):
        adapter = adapter_of(dialect)
        for parse in (adapter.parse_place, adapter.parse_change, adapter.parse_cancel):
            result = parse(answer(status, body))
            assert not result.retryable or status == 429  # or a whole sentence: test_noren_statuses
            assert not result.retryable or result.outcome is Outcome.REFUSED


@every_broker
@pytest.mark.parametrize("status", [201, 301, 302, 404, 408, 500, 502, 503, 504])
def test_other_statuses_prove_nothing_whatever_they_carry(dialect: Dialect, status: int) -> None:
    adapter = adapter_of(dialect)
    bodies = [
        b"",
        b"<html>Bad Gateway</html>",
        dialect.accepted.body,
        dialect.refused("No").body,
    ]
    for body in bodies:
        assert adapter.parse_place(HttpResponse(status, {}, body)).outcome is Outcome.UNKNOWN


@every_broker
def test_every_truncation_of_an_acceptance_proves_nothing(dialect: Dialect) -> None:
    adapter = adapter_of(dialect)
    body = dialect.accepted.body
    for cut in range(len(body)):
        assert adapter.parse_place(HttpResponse(200, {}, body[:cut])).outcome is Outcome.UNKNOWN


@every_broker
@pytest.mark.parametrize("order_id", ["", None, 7, True, [], {}, "a b", "x" * 41, "1\r\n2", "१२३"])
def test_an_acceptance_without_a_usable_id_proves_nothing(dialect: Dialect, order_id: Any) -> None:
    value = json.loads(dialect.accepted.body)
    holder = value.get("data", value)
    holder["order_id" if "data" in value else "norenordno"] = order_id
    assert adapter_of(dialect).parse_place(answer(200, value)).outcome is Outcome.UNKNOWN


@every_broker
def test_a_huge_answer_proves_nothing(dialect: Dialect) -> None:
    body = dialect.accepted.body[:-1] + b" " * 100_000 + b"}"
    assert adapter_of(dialect).parse_place(HttpResponse(200, {}, body)).outcome is Outcome.UNKNOWN


# -- fuzz ------------------------------------------------------------------------------------
_WORDS = (
    *("status", "data", "order_id", "message", "error_type", "net", "tag", "quantity"),
    *("stat", "norenordno", "emsg", "result", "qty", "lp", "last_price", "depth"),
    *("request_time", "timestamp", "access_token", "user_id", "actid"),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_WORDS),
            inner | st.sampled_from(["success", "Ok", "Not_Ok", "error", "InputException", "OPEN"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)
_bodies = st.binary(max_size=60) | _json.map(lambda value: json.dumps(value).encode())
_statuses = st.sampled_from([200, 200, 200, 400, 403, 429, 500, 502]) | st.integers(100, 599)


@every_broker
@given(status=_statuses, body=_bodies)
def test_no_bytes_raise_or_prove_what_they_do_not_say(
    dialect: Dialect, status: int, body: bytes
) -> None:
    adapter = adapter_of(dialect)
    response = HttpResponse(status, {}, body)
    for parse in (adapter.parse_place, adapter.parse_change, adapter.parse_cancel):
        result = parse(response)
        if result.outcome is Outcome.ACCEPTED:
            assert status == 200
            assert result.broker_order_id.encode() in body
        elif result.outcome is Outcome.REFUSED:
            assert status in (200, 400, 401, 403, 429)
            assert result.cause is not None
            assert status == 429 or result.message
        else:
            assert result.outcome is Outcome.UNKNOWN
    adapter.parse_order_book(response)
    adapter.parse_positions(response)
    adapter.parse_token(response)
    adapter.parse_owner(response)
    adapter.parse_quotes(response, ["k"], {"k": INSTRUMENT})


@every_broker
@given(lines=st.lists(st.text(max_size=80), max_size=6))
def test_no_instrument_file_raises(dialect: Dialect, lines: list[str]) -> None:
    list(adapter_of(dialect).parse_instruments(lines))
