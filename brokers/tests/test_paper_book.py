"""Paper matching: fills only inside the limit, the same inputs the same book, no network code."""

from __future__ import annotations

import ast
import datetime as dt
from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import brokers.paper
from brokers.base import (
    BookState,
    BrokerInstrument,
    Cause,
    Credentials,
    NetPosition,
    OrderReport,
    OrderRequest,
    Outcome,
    PriceChange,
    Product,
    QuoteRow,
    Session,
    Side,
    position_delta,
)
from brokers.paper.adapter import PaperAdapter, PaperVenue
from brokers.paper.book import PaperBook

CALL = BrokerInstrument("NFO", "NIFTY26AUG24400CE", "1")
AT = dt.datetime(2026, 8, 25, 3, 50, tzinfo=dt.UTC)


def quote(bid: str, ask: str) -> QuoteRow:
    return QuoteRow("k", Decimal(bid), Decimal(bid), Decimal(ask), AT)


def order(side: Side, price: str, tag: str = "Q1", quantity: int = 65) -> OrderRequest:
    return OrderRequest(tag, CALL, side, quantity, Product.INTRADAY, price=Decimal(price))


prices = st.decimals("0.05", "999.95", places=2)


@given(side=st.sampled_from(Side), limit=prices, bid=prices, spread=prices)
def test_a_fill_is_at_the_touch_and_never_beyond_the_limit(
    side: Side, limit: Decimal, bid: Decimal, spread: Decimal
) -> None:
    market = QuoteRow("k", bid, bid, bid + spread, AT)
    report = PaperBook().place(order(side, str(limit)), market)
    touch = bid + spread if side is Side.BUY else bid
    reached = touch <= limit if side is Side.BUY else touch >= limit
    assert report.state is (BookState.FILLED if reached else BookState.OPEN)
    assert report.filled_quantity == (65 if reached else 0)
    assert report.average_price == (touch if reached else 0)


def test_an_open_order_fills_when_the_market_comes() -> None:
    book = PaperBook()
    assert book.place(order(Side.BUY, "80"), quote("80", "81")).state is BookState.OPEN
    assert book.match(lambda _: None) == []
    changed = book.match(lambda _: quote("79", "79.5"))
    assert [(r.state, r.average_price) for r in changed] == [(BookState.FILLED, Decimal("79.5"))]
    assert book.match(lambda _: quote("70", "71")) == []


def test_a_changed_order_is_matched_at_its_new_limit() -> None:
    """A final order stays as it is."""
    venue = PaperVenue(lambda _: quote("80", "81"))
    adapter, session = PaperAdapter(), Session("C1", "", "")
    book = venue.book("C1")
    placed = book.place(order(Side.BUY, "78"), quote("80", "81"))

    def change(order_id: str, price: str) -> Outcome:
        asked = PriceChange(order_id, CALL, 65, Decimal(price))
        answer = venue.answer(adapter.change_order(session, asked))
        return adapter.parse_change(answer).outcome

    assert change(placed.broker_order_id, "79") is Outcome.ACCEPTED
    (rests,) = book.orders()
    assert (rests.state, rests.price) == (BookState.OPEN, Decimal(79))
    assert change(placed.broker_order_id, "81.5") is Outcome.ACCEPTED
    (filled,) = book.orders()
    assert (filled.state, filled.average_price) == (BookState.FILLED, Decimal(81))
    assert change(placed.broker_order_id, "90") is Outcome.REFUSED
    assert change("PAPERx", "90") is Outcome.REFUSED
    assert book.orders() == (filled,)


def test_a_tag_is_one_order() -> None:
    book = PaperBook()
    first = book.place(order(Side.BUY, "81"), quote("80", "81"))
    again = book.place(order(Side.BUY, "81"), quote("70", "71"))
    assert first == again
    assert len(book.orders()) == 1


def test_positions_are_the_sum_of_fills() -> None:
    book = PaperBook()
    book.place(order(Side.SELL, "80", "Q1", 130), quote("80", "81"))
    book.place(order(Side.BUY, "81", "Q2", 65), quote("80", "81"))
    assert book.positions() == (NetPosition("NFO", CALL.symbol, Product.INTRADAY, -65),)
    assert position_delta(book.orders()) == -65


def test_cancel_and_refusal_on_demand() -> None:
    book = PaperBook()
    resting = book.place(order(Side.BUY, "70", "Q1"), quote("80", "81"))
    cancelled = book.cancel(resting.broker_order_id)
    assert cancelled is not None
    assert cancelled.state is BookState.CANCELLED
    assert book.cancel("nothing") is None
    book.refuse_next(Cause.MARGIN, "Insufficient funds")
    refused = book.place(order(Side.BUY, "90", "Q2"), quote("80", "81"))
    assert (refused.state, refused.cause) == (BookState.REJECTED, Cause.MARGIN)
    assert book.place(order(Side.BUY, "90", "Q3"), quote("80", "81")).state is BookState.FILLED


def test_a_book_can_be_rebuilt_from_what_was_recorded() -> None:
    book, order_ = PaperBook(), order(Side.SELL, "80")
    report = book.place(order_, quote("80", "81"))
    again = PaperBook()
    again.restore([(order_, report)])
    assert (again.orders(), again.positions()) == (book.orders(), book.positions())


def test_the_adapter_and_the_venue_speak_to_each_other() -> None:
    adapter = PaperAdapter()
    venue = PaperVenue(lambda _: quote("80", "81"))
    login = adapter.parse_token(
        venue.answer(adapter.token_request(Credentials("C1", "", ""), "mock_token_1"))
    )
    assert login.client_id == "C1"
    refused = adapter.parse_token(
        venue.answer(adapter.token_request(Credentials("C1", "", ""), "other"))
    )
    assert refused.error
    session = Session("C1", "", login.access_token)
    placed = adapter.parse_place(venue.answer(adapter.place_order(session, order(Side.BUY, "81"))))
    assert placed.outcome is Outcome.ACCEPTED
    book = adapter.parse_order_book(venue.answer(adapter.order_book(session)))
    expected: tuple[OrderReport, ...] = venue.book("C1").orders()
    assert (book.ok, tuple(book.orders)) == (True, expected)
    positions = adapter.parse_positions(venue.answer(adapter.positions(session)))
    assert tuple(positions.positions) == venue.book("C1").positions()
    cancelled = adapter.cancel_order(session, placed.broker_order_id)
    assert adapter.parse_cancel(venue.answer(cancelled)).outcome is Outcome.ACCEPTED
    unknown = venue.answer(adapter.cancel_order(session, "PAPERx"))
    assert adapter.parse_cancel(unknown).outcome is Outcome.REFUSED


def test_there_is_no_network_code() -> None:
    networked = {"socket", "ssl", "http", "urllib", "requests", "aiohttp", "asyncio", "httptools"}
    for path in Path(brokers.paper.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not networked & {name.partition(".")[0] for name in names}, path
