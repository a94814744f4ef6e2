"""Noren's statuses: the body counts first, and 401 or 403 without one means log in again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Cause, HttpResponse, Outcome
from brokers.tests.dialects import NO_DATA, SESSION
from brokers.zebu.adapter import ZebuAdapter

ADAPTER = ZebuAdapter()
TOO_FAST = "Invalid Input :  Order Recieved 11 in a current second exceeds Limit 10 for user"
PAGES = [b"", b"  \r\n", b"<html>Unauthorized</html>", b"<!doctype html><p>Forbidden"]


def refusal(emsg: str, status: int) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps({"stat": "Not_Ok", "emsg": emsg}).encode())


def test_no_data_with_http_400_is_an_empty_book() -> None:
    """Bug: a failed read, for ever."""
    response = HttpResponse(400, {}, NO_DATA.body)
    book, positions = ADAPTER.parse_order_book(response), ADAPTER.parse_positions(response)
    assert (book.ok, tuple(book.orders)) == (True, ())
    assert (positions.ok, tuple(positions.positions)) == (True, ())


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 504])
def test_no_data_with_an_error_of_the_server_proves_nothing(status: int) -> None:
    response = HttpResponse(status, {}, NO_DATA.body)
    assert not ADAPTER.parse_order_book(response).ok
    assert not ADAPTER.parse_positions(response).ok


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_list_is_believed_with_http_200_only(status: int) -> None:
    row = {"stat": "Ok", "norenordno": "1", "status": "OPEN", "qty": "65", "trantype": "B"}
    body = json.dumps([row]).encode()
    assert ADAPTER.parse_order_book(HttpResponse(200, {}, body)).ok
    assert not ADAPTER.parse_order_book(HttpResponse(status, {}, body)).ok


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", PAGES)
def test_an_empty_403_and_an_html_401_mean_log_in_again(status: int, body: bytes) -> None:
    """Bug: BROKER_DOWN for ever, and nobody was asked to log in."""
    response = HttpResponse(status, {}, body)
    assert ADAPTER.parse_order_book(response).cause is Cause.SESSION_EXPIRED
    assert ADAPTER.parse_positions(response).cause is Cause.SESSION_EXPIRED
    assert ADAPTER.parse_quotes(response, ["k"], {}).cause is Cause.SESSION_EXPIRED
    for result in (ADAPTER.parse_place(response), ADAPTER.parse_cancel(response)):
        assert (result.outcome, result.cause) == (Outcome.REFUSED, Cause.SESSION_EXPIRED)
        assert not result.retryable
        assert "log in again" in result.message


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", PAGES)
def test_an_order_with_a_page_of_the_server_stays_unknown(status: int, body: bytes) -> None:
    assert ADAPTER.parse_place(HttpResponse(status, {}, body)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [401, 403])
def test_half_an_acceptance_behind_a_401_proves_nothing(status: int) -> None:
    """Control: only nothing or a page is the door's answer."""
    body = json.dumps({"stat": "Ok", "norenordno": "20052000000017"}).encode()
    for cut in range(1, len(body) + 1):
        result = ADAPTER.parse_place(HttpResponse(status, {}, body[:cut]))
        assert result.outcome is Outcome.UNKNOWN


def test_its_own_words_beat_the_status() -> None:
    refused = refusal("Access Restricted for API Only Users", 403)
    assert ADAPTER.parse_place(refused).cause is Cause.IP_NOT_REGISTERED
    assert ADAPTER.parse_order_book(refused).cause is Cause.IP_NOT_REGISTERED
    expired = refusal("Session Expired :  Invalid Session Key", 500)
    assert ADAPTER.parse_order_book(expired).cause is Cause.SESSION_EXPIRED
    odd = refusal("Something nobody knows", 403)
    assert ADAPTER.parse_order_book(odd).cause is Cause.SESSION_EXPIRED


@pytest.mark.parametrize(
    "emsg", [TOO_FAST, "Order Received 121 in a current minute exceeds Limit 120 for user"]
)
def test_too_fast_is_said_with_http_400_and_may_be_sent_again(emsg: str) -> None:
    result = ADAPTER.parse_place(refusal(emsg, 400))
    assert (result.outcome, result.cause) == (Outcome.REFUSED, Cause.RATE_LIMIT)
    assert result.retryable
    assert ADAPTER.parse_order_book(refusal(emsg, 400)).cause is Cause.RATE_LIMIT


@pytest.mark.parametrize(
    ("emsg", "status"),
    [
        (TOO_FAST, 200),
        (f"{TOO_FAST} of the day", 400),
        ("Order value exceeds limit set for the client", 400),
        ("Maximum allowed order requests exceeded.", 400),
        ("Maximum allowed order requests exceeded.", 429),
    ],
)
def test_nothing_like_it_may_be_sent_again(emsg: str, status: int) -> None:
    result = ADAPTER.parse_place(refusal(emsg, status))
    assert result.outcome is Outcome.REFUSED
    assert not result.retryable


def test_the_oms_that_is_down_is_the_broker_that_is_down() -> None:
    """Bug: ``unknown request`` was INVALID. Zebu's documents: the order system is down."""
    for status in (200, 400):
        response = refusal('Error Occurred : 1 "unknown request"', status)
        placed = ADAPTER.parse_place(response)
        assert (placed.outcome, placed.cause) == (Outcome.UNKNOWN, Cause.BROKER_DOWN)
        assert ADAPTER.parse_order_book(response).cause is Cause.BROKER_DOWN


@given(
    status=st.sampled_from([200, 400, 401, 403, 429, 500, 502]),
    body=st.binary(max_size=40)
    | st.sampled_from([*PAGES, NO_DATA.body, b"[]", b"{}", b'{"stat":"Ok","norenordno":"1"}']),
)
def test_no_status_makes_a_fact_of_junk(status: int, body: bytes) -> None:
    response = HttpResponse(status, {}, body)
    placed: Any = ADAPTER.parse_place(response)
    if placed.outcome is Outcome.REFUSED and status in (401, 403):
        assert not body.strip() or body.strip().startswith(b"<")
    read = ADAPTER.parse_order_book(response)
    assert not read.ok or (status in (200, 400) and body == NO_DATA.body)
    owner = ADAPTER.parse_owner(response)
    assert not owner.client_id
    assert owner.error or owner.unknown
    assert SESSION.access_token not in owner.error
