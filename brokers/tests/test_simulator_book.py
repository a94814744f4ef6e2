"""The order book: what fills, what rests, and that positions are the sum of fills."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.book import Book, Order, PlaceCall, Status
from brokers.simulator.contracts import generate
from brokers.simulator.market import Quote
from brokers.tests.driven_simulator import TEN_O_CLOCK

LISTED = generate(dt.date(2026, 8, 18))
CALL = LISTED.by_kite_symbol["NIFTY2681825000CE"]
PUT = LISTED.by_kite_symbol["NIFTY2681825000PE"]


def quote(bid: str, ask: str) -> Quote:
    return Quote(last=Decimal(bid), bid=Decimal(bid), ask=Decimal(ask), theoretical=float(bid))


MARKET = quote("99.95", "100.05")


def place(book: Book, **changes: Any) -> Order:
    contract = changes.pop("contract", CALL)
    visible_at = changes.pop("visible_at", None)
    values: dict[str, Any] = {
        "broker": "zerodha",
        "client_id": "AB1234",
        "tag": "Q1",
        "exchange": "NFO",
        "symbol": contract.kite_symbol,
        "side": "BUY",
        "quantity": 65,
        "product": "MIS",
        "order_type": "LIMIT",
        "price": Decimal("100.05"),
        "received_at": TEN_O_CLOCK,
    } | changes
    call = PlaceCall(**values)
    return book.accept(
        call,
        contract,
        price=call.price,
        order_type=call.order_type,
        now=TEN_O_CLOCK,
        visible_at=visible_at,
    )


@pytest.fixture
def book() -> Book:
    return Book(Decimal(10_000_000))


@pytest.mark.parametrize(
    ("side", "price", "fill"),
    [
        ("BUY", "100.05", "100.05"),
        ("BUY", "105.00", "100.05"),
        ("BUY", "100.00", None),
        ("SELL", "99.95", "99.95"),
        ("SELL", "95.00", "99.95"),
        ("SELL", "100.00", None),
    ],
)
def test_a_limit_fills_at_the_other_side_or_rests(
    book: Book, side: str, price: str, fill: str | None
) -> None:
    order = place(book, side=side, price=Decimal(price))
    assert order.status is Status.PENDING
    book.match(order, MARKET, TEN_O_CLOCK)
    if fill is None:
        assert (order.status, order.filled) == (Status.OPEN, 0)
        assert book.resting(CALL) == [order]
    else:
        assert (order.status, order.filled) == (Status.COMPLETE, 65)
        assert order.average_price == Decimal(fill)
        assert book.resting_contracts() == []


def test_a_resting_order_fills_when_the_market_comes(book: Book) -> None:
    order = place(book, price=Decimal(90))
    book.match(order, MARKET, TEN_O_CLOCK)
    book.match(order, quote("89.00", "89.50"), TEN_O_CLOCK)
    assert order.status is Status.COMPLETE
    assert order.average_price == Decimal("89.50")
    assert [status for status, _, _ in order.history] == ["PENDING", "OPEN", "COMPLETE"]


def test_ioc_never_rests(book: Book) -> None:
    order = place(book, price=Decimal(90), validity="IOC")
    book.match(order, MARKET, TEN_O_CLOCK)
    assert (order.status, order.cancelled) == (Status.CANCELLED, 65)
    assert book.resting_contracts() == []


def test_a_capped_order_stays_open_until_changed(book: Book) -> None:
    order = place(book, quantity=130)
    order.fill_cap = 65
    for _ in range(3):
        book.match(order, MARKET, TEN_O_CLOCK)
    assert (order.status, order.filled, order.pending) == (Status.OPEN, 65, 65)
    assert book.modify(order, now=TEN_O_CLOCK, price=Decimal(101))
    book.match(order, MARKET, TEN_O_CLOCK)
    assert (order.status, order.filled) == (Status.COMPLETE, 130)


def test_cancelling_leaves_the_fills(book: Book) -> None:
    order = place(book, quantity=130)
    order.fill_cap = 65
    book.match(order, MARKET, TEN_O_CLOCK)
    assert book.cancel(order, TEN_O_CLOCK)
    assert (order.status, order.filled, order.cancelled) == (Status.CANCELLED, 65, 65)
    assert not book.cancel(order, TEN_O_CLOCK)
    assert not book.modify(order, now=TEN_O_CLOCK, price=Decimal(1))


def test_modifying_below_what_is_filled_is_refused(book: Book) -> None:
    order = place(book, quantity=195)
    order.fill_cap = 130
    book.match(order, MARKET, TEN_O_CLOCK)
    assert not book.modify(order, now=TEN_O_CLOCK, quantity=65)
    assert order.quantity == 195


@pytest.mark.parametrize(
    ("side", "price", "trigger", "then", "fill"),
    [
        ("BUY", 130, 125, ("126.00", "126.50"), "126.50"),
        ("SELL", 70, 75, ("74.00", "74.50"), "74.00"),
    ],
)
def test_a_stop_waits_for_its_trigger(
    book: Book, side: str, price: int, trigger: int, then: tuple[str, str], fill: str
) -> None:
    order = place(
        book, order_type="SL", side=side, price=Decimal(price), trigger_price=Decimal(trigger)
    )
    book.match(order, MARKET, TEN_O_CLOCK)
    assert order.status is Status.TRIGGER_PENDING
    book.match(order, quote(*then), TEN_O_CLOCK)
    assert (order.status, order.average_price) == (Status.COMPLETE, Decimal(fill))


def test_a_rejected_order_never_fills(book: Book) -> None:
    order = place(book)
    book.reject(order, cause="MARGIN", message="no money", now=TEN_O_CLOCK)
    assert book.match(order, MARKET, TEN_O_CLOCK) == 0
    assert (order.status, order.filled, order.cause) == (Status.REJECTED, 0, "MARGIN")


def test_a_hidden_order_is_in_no_list_until_its_time(book: Book) -> None:
    later = TEN_O_CLOCK + dt.timedelta(seconds=3)
    order = place(book, visible_at=later)
    book.match(order, MARKET, TEN_O_CLOCK)
    account = book.account("zerodha", "AB1234")
    assert list(account.visible_orders(TEN_O_CLOCK)) == []
    assert account.holdings(TEN_O_CLOCK) == []
    assert list(account.visible_orders(later)) == [order]
    assert [row.quantity for row in account.holdings(later)] == [65]
    assert [row.quantity for row in account.holdings()] == [65]


def test_nobody_sees_another_clients_order(book: Book) -> None:
    order = place(book)
    assert book.find("zerodha", "AB1234", order.order_id) is order
    assert book.find("zerodha", "XY9999", order.order_id) is None
    assert book.find("zebu", "AB1234", order.order_id) is None


trades = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 27),
        st.sampled_from([CALL, PUT]),
        st.sampled_from(["MIS", "NRML"]),
        st.integers(1, 4000).map(lambda ticks: ticks * Decimal("0.05")),
    ),
    max_size=20,
)


@given(trades)
def test_positions_are_the_sum_of_fills(rows: list[Any]) -> None:
    book = Book(Decimal(10**9))
    expected: dict[tuple[int, str], int] = {}
    cash = Decimal(0)
    for side, lots, contract, product, price in rows:
        order = place(
            book, side=side, quantity=lots * 65, contract=contract, product=product, price=price
        )
        book.match(order, Quote(price, price, price, float(price)), TEN_O_CLOCK)
        key = (contract.token, product)
        expected[key] = expected.get(key, 0) + order.sign * order.filled
        cash -= order.sign * order.filled * price
        assert order.filled == order.quantity
    account = book.account("zerodha", "AB1234")
    held = {(row.contract.token, row.product): row for row in account.holdings()}
    assert {key: row.quantity for key, row in held.items()} == expected
    assert sum((row.sell_value - row.buy_value for row in held.values()), Decimal(0)) == cash
    assert account.cash_flow == cash
    for contract, net in account.net.values():
        assert net == sum(q for (token, _), q in expected.items() if token == contract.token)


@given(trades, st.integers(0, 3))
def test_an_order_never_fills_beyond_its_quantity(rows: list[Any], rounds: int) -> None:
    book = Book(Decimal(10**9))
    for side, lots, contract, product, price in rows:
        order = place(
            book, side=side, quantity=lots * 65, contract=contract, product=product, price=price
        )
        for _ in range(rounds):
            book.match(order, MARKET, TEN_O_CLOCK)
        assert 0 <= order.filled <= order.quantity
        assert order.filled == sum(t.quantity for t in order.trades)
        assert order.pending + order.filled + order.cancelled == order.quantity
    assert len({o.order_id for o in book.orders}) == len(book.orders)


def test_a_new_day_keeps_carried_positions_only(book: Book) -> None:
    for product in ("MIS", "NRML"):
        book.match(place(book, product=product), MARKET, TEN_O_CLOCK)
    open_order = place(book, price=Decimal(1))
    book.match(open_order, MARKET, TEN_O_CLOCK)
    book.roll_day()
    account = book.account("zerodha", "AB1234")
    assert account.orders == []
    assert [(row.product, row.quantity, row.overnight) for row in account.holdings()] == [
        ("NRML", 65, 65)
    ]
    assert account.net[CALL.token][1] == 65
    assert book.resting_contracts() == []
    assert len(book.orders) == 3


def test_a_change_is_reported_and_in_the_orders_history(book: Book) -> None:
    order = place(book, price=Decimal(90))
    book.match(order, MARKET, TEN_O_CLOCK)
    reports: list[tuple[Status, bool, Decimal]] = []
    book.changed = lambda changed: reports.append(
        (changed.status, changed.just_changed, changed.price)
    )
    before = len(order.history)
    assert book.modify(order, now=TEN_O_CLOCK, price=Decimal(91))
    assert reports == [(Status.OPEN, True, Decimal(91))]
    assert (order.just_changed, order.modified, order.changes) == (False, True, 1)
    assert len(order.history) == before + 1
