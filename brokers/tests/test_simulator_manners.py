"""What the real brokers do and a friendly simulator would hide, read by our adapters."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from brokers.base import BookState, Outcome, QuoteRow
from brokers.simulator.contracts import Contract
from brokers.tests.adapter_checks import KINDS, Exam

AT_FIRST = {"login": "until", "history": False, "updates": "told"}


@pytest.fixture(params=KINDS)
def exam(request: pytest.FixtureRequest) -> Exam:
    return Exam(request.param)


def quoted(exam: Exam, contract: Contract) -> QuoteRow:
    name = exam.name(contract.token)
    ((keys, request),) = exam.adapter.quotes(exam.session, {"k": name})
    return exam.adapter.parse_quotes(exam.ask(request), keys, {"k": name}).quotes["k"]


def far(exam: Exam) -> Contract:
    """The NIFTY call of the nearest expiry that is furthest from the money."""
    near = exam.contract
    listed = exam.simulator.exchange.contracts.contracts
    return max(
        (c for c in listed if (c.underlying, c.kind, c.expiry) == ("NIFTY", "CE", near.expiry)),
        key=lambda c: c.strike,
    )


def test_an_untraded_option_has_a_fresh_quote_and_an_old_trade(exam: Exam) -> None:
    now = exam.simulator.now
    far_row = quoted(exam, far(exam))
    exam.simulator.forward(1)  # Kite takes one quote call a second
    near_row = quoted(exam, exam.contract)
    for row in (far_row, near_row):
        assert now - row.at < dt.timedelta(seconds=2)
        assert row.bid is not None
        assert row.ask is not None
    assert near_row.traded_at is not None
    assert now - near_row.traded_at < dt.timedelta(seconds=2)
    assert far_row.traded_at is None or now - far_row.traded_at > dt.timedelta(hours=12)


def test_an_order_of_ours_is_a_trade(exam: Exam) -> None:
    contract = far(exam)
    price = exam.simulator.exchange.quote(contract).ask
    exam.place(instrument=exam.name(contract.token), price=price)
    exam.simulator.forward(0.03)
    row = quoted(exam, contract)
    assert row.last_price == price
    assert row.traded_at is not None
    assert exam.simulator.now - row.traded_at < dt.timedelta(seconds=2)


def test_a_book_that_lists_histories_is_read_as_orders(exam: Exam) -> None:
    """Bug: the same id three times was three orders, and DUPLICATE."""
    exam.simulator.control("POST", "/manner", history=True)
    placed = [
        exam.adapter.parse_place(exam.place(tag=f"Q000000000000{n}")) for n in ("1A", "2A", "3A")
    ]
    for expected in (BookState.SUBMITTED, BookState.FILLED):
        response = exam.ask(exam.adapter.order_book(exam.session))
        assert response.body.count(placed[0].broker_order_id.encode()) >= 2
        book = exam.adapter.parse_order_book(response)
        assert sorted(o.broker_order_id for o in book.orders) == sorted(
            p.broker_order_id for p in placed
        )
        assert {order.state for order in book.orders} == {expected}
        exam.simulator.forward(0.03)


@pytest.mark.parametrize("manner", ["until", "seconds", "owner"])
def test_every_shape_of_the_token_answer_is_a_login(manner: str) -> None:
    exam = Exam("zebu")
    exam.simulator.control("POST", "/manner", login=manner)
    exam.session = exam.log_in()  # asks whose session it is
    day_ends = exam.adapter.token_expiry(exam.simulator.now)
    end = exam.login.ends_at if manner == "until" else exam.login.lives_for
    assert (end is None) == (manner == "owner")
    assert (exam.login.client_id == "") == (manner != "owner")
    assert exam.login.expiry(exam.simulator.now, day_ends) == day_ends
    assert exam.adapter.parse_place(exam.place()).outcome is Outcome.ACCEPTED


def test_norens_errors_come_with_both_statuses() -> None:
    exam = Exam("zebu")
    empty = exam.ask(exam.adapter.order_book(exam.session))
    assert (empty.status, exam.adapter.parse_order_book(empty).ok) == (400, True)
    refused = exam.place(quantity=64)
    assert refused.status == 200
    assert exam.adapter.parse_place(refused).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "wrong",
    [
        {"login": "shouting"},
        {"history": 1},
        {"history": "yes"},
        {"updates": "never"},
        {"volume": 3},
    ],
    ids=str,
)
def test_a_manner_nobody_has_is_400_and_changes_nothing(wrong: dict[str, Any]) -> None:
    simulator = Exam("zebu").simulator
    assert simulator.control("POST", "/manner", **wrong)[0] == 400
    assert simulator.control("GET", "/manner") == (200, AT_FIRST)


def test_a_reset_brings_the_manner_back() -> None:
    simulator = Exam("zebu").simulator
    simulator.control("POST", "/manner", login="owner", history=True)
    simulator.control("POST", "/reset")
    assert simulator.control("GET", "/manner") == (200, AT_FIRST)
