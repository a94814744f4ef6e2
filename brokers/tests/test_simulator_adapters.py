"""Our adapters against the simulator: no sockets, one side's bytes into the other's parser.

The two were written apart from the same sources (docs/brokers/adapters.md#sources); what they do
not agree on is a mistake in one of them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal

import pytest

from brokers.base import (
    BookState,
    BrokerInstrument,
    Cause,
    Credentials,
    HttpResponse,
    OrderType,
    Outcome,
    Product,
    QuoteRow,
    Side,
)
from brokers.simulator.contracts import EXCHANGES
from brokers.simulator.rules import Reason
from brokers.simulator.wire import gateway_page
from brokers.tests.adapter_checks import API_KEY, KINDS, TAG, Exam


@pytest.fixture(params=KINDS)
def exam(request: pytest.FixtureRequest) -> Exam:
    return Exam(request.param)


def test_a_code_works_once_and_only_with_the_secret(exam: Exam) -> None:
    for secret in (f"secret-{API_KEY}", "wrong"):
        credentials = Credentials("AB1234", API_KEY, secret)
        response = exam.ask(exam.adapter.token_request(credentials, exam.code))
        result = exam.adapter.parse_token(response)
        assert (result.access_token, result.unknown) == ("", False)
        assert result.error


def test_the_token_lives_as_long_as_the_adapter_says(exam: Exam) -> None:
    end = exam.adapter.token_expiry(exam.simulator.now)
    exam.simulator.now = end - dt.timedelta(seconds=1)
    assert exam.adapter.parse_order_book(exam.ask(exam.adapter.order_book(exam.session))).ok
    exam.simulator.now = end + dt.timedelta(hours=1)
    read = exam.adapter.parse_order_book(exam.ask(exam.adapter.order_book(exam.session)))
    assert (read.ok, read.cause) == (False, Cause.SESSION_EXPIRED)


def test_an_order_from_send_to_position(exam: Exam) -> None:
    adapter, session = exam.adapter, exam.session
    assert adapter.parse_order_book(exam.ask(adapter.order_book(session))).orders in ((), [])
    assert adapter.parse_positions(exam.ask(adapter.positions(session))).ok
    sent = adapter.parse_place(exam.place())
    assert sent.outcome is Outcome.ACCEPTED
    read = adapter.parse_order_book(exam.ask(adapter.order_book(session)))
    (report,) = read.orders
    assert (report.broker_order_id, report.tag) == (sent.broker_order_id, TAG)
    assert report.state is BookState.SUBMITTED
    exam.simulator.forward(0.03)
    (report,) = adapter.parse_order_book(exam.ask(adapter.order_book(session))).orders
    assert (report.state, report.filled_quantity, report.quantity) == (BookState.FILLED, 65, 65)
    assert report.average_price == exam.simulator.exchange.book.orders[0].average_price
    assert (report.symbol, report.side) == (exam.instrument.symbol, Side.BUY)
    assert report.product is Product.INTRADAY
    (position,) = adapter.parse_positions(exam.ask(adapter.positions(session))).positions
    assert (position.symbol, position.quantity) == (exam.instrument.symbol, 65)
    assert position.product is Product.INTRADAY


def test_an_open_order_is_cancelled_once(exam: Exam) -> None:
    adapter, session = exam.adapter, exam.session
    sent = adapter.parse_place(exam.place(price=exam.simulator.resting_price()))
    exam.simulator.forward(0.03)
    (report,) = adapter.parse_order_book(exam.ask(adapter.order_book(session))).orders
    assert report.state is BookState.OPEN
    request = adapter.cancel_order(session, sent.broker_order_id)
    assert adapter.parse_cancel(exam.ask(request)).outcome is Outcome.ACCEPTED
    (report,) = adapter.parse_order_book(exam.ask(adapter.order_book(session))).orders
    assert report.state is BookState.CANCELLED
    assert adapter.parse_cancel(exam.ask(request)).outcome is not Outcome.ACCEPTED


def test_a_protected_market_order_fills() -> None:
    for kind in KINDS:
        exam = Exam(kind)
        if exam.adapter.capabilities.market_with_protection:
            response = exam.place(order_type=OrderType.MARKET_WITH_PROTECTION, price=None)
            assert exam.adapter.parse_place(response).outcome is Outcome.ACCEPTED
            exam.simulator.forward(0.03)
            assert exam.simulator.exchange.book.orders[0].status == "COMPLETE"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"quantity": 64}, Cause.INVALID),
        ({"quantity": 1820}, Cause.FREEZE),
        ({"price": Decimal("50.03")}, Cause.INVALID),
        ({"instrument": BrokerInstrument("NFO", "NIFTY99", "1")}, Cause.INVALID),
    ],
)
def test_the_exchanges_refusals_are_read_as_refusals(
    exam: Exam, changes: dict[str, object], cause: Cause
) -> None:
    sent = exam.adapter.parse_place(exam.place(**changes))
    assert (sent.outcome, sent.cause) == (Outcome.REFUSED, cause)
    assert sent.message


# BROKER_DOWN is never a refusal: the gateway does not know what became of the order.
CAUSES = sorted({reason.cause for reason in Reason} - {"BROKER_DOWN", "OTHER"})


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_is_understood_at_once(exam: Exam, cause: str) -> None:
    exam.simulator.control("POST", "/faults", kind="reject", cause=cause, count=1)
    sent = exam.adapter.parse_place(exam.place())
    assert (sent.outcome, sent.cause) == (Outcome.REFUSED, Cause(cause))
    assert sent.retryable is (cause == "RATE_LIMIT")


@pytest.mark.parametrize("cause", ["MARGIN", "PRICE_BAND", "FREEZE", "SEGMENT", "PRODUCT"])
def test_every_late_rejection_is_understood(exam: Exam, cause: str) -> None:
    arguments = {"kind": "reject", "cause": cause, "async": True}
    exam.simulator.control("POST", "/faults", **arguments)
    assert exam.adapter.parse_place(exam.place()).outcome is Outcome.ACCEPTED
    exam.simulator.forward(0.03)
    read = exam.adapter.parse_order_book(exam.ask(exam.adapter.order_book(exam.session)))
    (report,) = read.orders
    assert (report.state, report.cause) == (BookState.REJECTED, Cause(cause))
    assert report.message


def test_after_hours_is_market_closed(exam: Exam) -> None:
    exam.simulator.now = dt.datetime(2026, 8, 18, 10, 30, tzinfo=dt.UTC)
    sent = exam.adapter.parse_place(exam.place())
    assert (sent.outcome, sent.cause) == (Outcome.REFUSED, Cause.MARKET_CLOSED)


def test_the_eleventh_order_of_a_second_may_be_sent_again(exam: Exam) -> None:
    exam.simulator.forward(1)  # at Noren the login's own calls count
    results = [exam.adapter.parse_place(exam.place()) for _ in range(11)]
    assert [r.outcome for r in results] == [Outcome.ACCEPTED] * 10 + [Outcome.REFUSED]
    assert (results[-1].cause, results[-1].retryable) == (Cause.RATE_LIMIT, True)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_page_proves_nothing(exam: Exam, status: int) -> None:
    page = gateway_page(status)
    response = HttpResponse(page.status, {"content-type": page.content_type}, page.body)
    assert exam.adapter.parse_place(response).outcome is Outcome.UNKNOWN
    assert not exam.adapter.parse_order_book(response).ok
    assert not exam.adapter.parse_positions(response).ok


def test_half_an_answer_proves_nothing(exam: Exam) -> None:
    whole = exam.place()
    for length in range(len(whole.body)):
        half = HttpResponse(whole.status, whole.headers, whole.body[:length])
        assert exam.adapter.parse_place(half).outcome is Outcome.UNKNOWN


def test_quotes_come_back_by_our_keys(exam: Exam) -> None:
    adapter = exam.adapter
    index = adapter.index_instrument("NIFTY")
    assert index is not None
    instruments = {
        "spot": index,
        "call": exam.instrument,
        "put": exam.name(exam.simulator.atm("PE").token),
    }
    rows: dict[str, QuoteRow] = {}
    for keys, request in adapter.quotes(exam.session, instruments):
        read = adapter.parse_quotes(exam.ask(request), keys, instruments)
        assert read.ok
        rows.update(read.quotes)
    assert rows.keys() == instruments.keys()
    truth = exam.simulator.exchange.quote(exam.contract)
    call = rows["call"]
    assert (call.bid, call.ask, call.last_price) == (truth.bid, truth.ask, truth.last)
    assert exam.simulator.now - call.at < dt.timedelta(seconds=2)


@pytest.mark.parametrize("underlying", ["NIFTY", "BANKNIFTY", "FINNIFTY", "SENSEX"])
def test_every_index_is_quoted(exam: Exam, underlying: str) -> None:
    index = exam.adapter.index_instrument(underlying)
    assert index is not None
    ((keys, request),) = exam.adapter.quotes(exam.session, {underlying: index})
    read = exam.adapter.parse_quotes(exam.ask(request), keys, {underlying: index})
    spot = exam.simulator.exchange.spots()[underlying]
    assert float(read.quotes[underlying].last_price) == pytest.approx(spot, abs=0.01)


def test_a_sensex_option_is_quoted_and_traded_on_bfo(exam: Exam) -> None:
    """Bug: no BFO, so that nothing of a SENSEX strategy could be tried here."""
    adapter, session, simulator = exam.adapter, exam.session, exam.simulator
    spot = simulator.exchange.spots()["SENSEX"]
    exam.contract = min(
        simulator.exchange.contracts.of("BFO"), key=lambda c: (c.expiry, abs(c.strike - spot))
    )
    exam.instrument = exam.name(exam.contract.token)
    instruments = {"call": exam.instrument}
    ((keys, request),) = adapter.quotes(session, instruments)
    call = adapter.parse_quotes(exam.ask(request), keys, instruments).quotes["call"]
    truth = simulator.exchange.quote(exam.contract)
    assert (call.bid, call.ask) == (truth.bid, truth.ask)
    for quantity in (30, 1020):  # half a lot too much; one lot more than the freeze limit
        sent = adapter.parse_place(exam.place(quantity=quantity))
        assert sent.outcome is Outcome.REFUSED
    wrong = dataclasses.replace(exam.instrument, exchange="NFO")
    assert adapter.parse_place(exam.place(quantity=40, instrument=wrong)).cause is Cause.INVALID
    assert adapter.parse_place(exam.place(quantity=40)).outcome is Outcome.ACCEPTED
    simulator.forward(1)
    (order,) = adapter.parse_order_book(exam.ask(adapter.order_book(session))).orders
    assert (order.state, order.filled_quantity) == (BookState.FILLED, 40)
    (position,) = adapter.parse_positions(exam.ask(adapter.positions(session))).positions
    assert (position.symbol, position.quantity) == (exam.instrument.symbol, 40)
    (oracle,) = simulator.control("GET", "/positions")[1]["positions"]
    assert (oracle["exchange"], oracle["quantity"]) == ("BFO", 40)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_the_instrument_file_is_read_whole(exam: Exam, exchange: str) -> None:
    listed = exam.simulator.exchange.contracts
    written = listed.kite_csv if exam.kind == "zerodha" else listed.noren_txt
    rows = list(exam.adapter.parse_instruments(written(exchange).splitlines()))
    assert len(rows) == len(listed.of(exchange))
    for row in rows:
        contract = listed.by_token[int(row.exchange_token)]
        assert (row.underlying, row.expiry, row.option_type) == (
            contract.underlying,
            contract.expiry,
            contract.kind,
        )
        assert (int(row.strike), row.lot_size, row.tick_size) == (
            contract.strike,
            contract.lot_size,
            contract.tick,
        )
        assert row.symbol == exam.name(contract.token).symbol


# -- changes -----------------------------------------------------------------------------------
def test_a_changed_order_meets_the_market_again_at_its_new_price(exam: Exam) -> None:
    resting = exam.simulator.resting_price()
    placed = exam.adapter.parse_place(exam.place(price=resting))
    exam.simulator.forward(1)
    assert (exam.row().state, exam.row().price) == (BookState.OPEN, resting)
    changed = exam.change(placed.broker_order_id, resting + 1)
    assert (changed.outcome, changed.broker_order_id) == (Outcome.ACCEPTED, placed.broker_order_id)
    exam.simulator.forward(1)
    assert (exam.row().state, exam.row().price) == (BookState.OPEN, resting + 1)
    exam.change(placed.broker_order_id, exam.simulator.exchange.quote(exam.contract).ask + 1)
    exam.simulator.forward(1)
    row = exam.row()
    assert (row.state, row.filled_quantity, row.quantity) == (BookState.FILLED, 65, 65)
    assert (row.broker_order_id, row.tag) == (placed.broker_order_id, TAG)


def test_a_change_of_what_has_filled_in_part_changes_no_quantity(exam: Exam) -> None:
    exam.simulator.control("POST", "/faults", kind="partial_fill", fraction=0.5, count=1)
    placed = exam.adapter.parse_place(exam.place(quantity=130))
    exam.simulator.forward(1)
    assert exam.row().filled_quantity == 65
    ask = exam.simulator.exchange.quote(exam.contract).ask
    exam.change(placed.broker_order_id, ask + Decimal(1), 130)
    exam.simulator.forward(1)
    row = exam.row()
    assert (row.state, row.filled_quantity, row.quantity) == (BookState.FILLED, 130, 130)


def test_impossible_changes_are_refused(exam: Exam) -> None:
    """Final or unknown orders, prices off the grid or outside the band."""
    resting = exam.simulator.resting_price()
    placed = exam.adapter.parse_place(exam.place(price=resting))
    exam.simulator.forward(1)
    wrong = [("26012100000000", resting), (placed.broker_order_id, resting + Decimal("0.03"))]
    wrong.append((placed.broker_order_id, Decimal(100_000)))
    for order_id, price in wrong:
        assert exam.change(order_id, price).outcome is not Outcome.ACCEPTED
    assert exam.row().price == resting
    exam.ask(exam.adapter.cancel_order(exam.session, placed.broker_order_id))
    assert exam.change(placed.broker_order_id, resting + 1).outcome is Outcome.REFUSED


def test_kite_changes_an_order_25_times_and_no_26th_time() -> None:
    exam = Exam("zerodha")
    resting = exam.simulator.resting_price()
    placed = exam.adapter.parse_place(exam.place(price=resting))
    said = []
    for number in range(26):
        exam.simulator.forward(1)
        said.append(exam.change(placed.broker_order_id, resting + Decimal("0.05") * number))
    assert [answer.outcome for answer in said[:25]] == [Outcome.ACCEPTED] * 25
    assert said[25].outcome is Outcome.REFUSED
    assert said[25].message == "Maximum allowed order modifications exceeded."
    cancelled = exam.ask(exam.adapter.cancel_order(exam.session, placed.broker_order_id))
    assert exam.adapter.parse_cancel(cancelled).outcome is Outcome.ACCEPTED


def test_a_book_with_histories_shows_the_changed_order(exam: Exam) -> None:
    exam.simulator.control("POST", "/manner", login="until", history=True, updates="told")
    resting = exam.simulator.resting_price()
    placed = exam.adapter.parse_place(exam.place(price=resting))
    exam.simulator.forward(1)
    exam.change(placed.broker_order_id, resting + 1)
    exam.simulator.forward(1)
    assert (exam.row().state, exam.row().price) == (BookState.OPEN, resting + 1)
