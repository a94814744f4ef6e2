"""The paper broker as an adapter, so that test executions use the executor's normal code.

Requests and answers have the same types as those of a real broker, but only :class:`PaperVenue`, in
this process, can answer them: nothing here opens a socket, for I8 (test accounts never reach a
broker).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from brokers import wire_values
from brokers.base import (
    BookRead,
    BookState,
    BrokerInstrument,
    Capabilities,
    Cause,
    Credentials,
    HttpRequest,
    HttpResponse,
    LoginResult,
    NetPosition,
    OrderReport,
    OrderRequest,
    OrderType,
    Outcome,
    OwnerRead,
    PositionRead,
    PriceChange,
    Product,
    QuoteRead,
    SendResult,
    Session,
    Side,
)
from brokers.instrument_rows import InstrumentStream
from brokers.orders import check_change, check_order
from brokers.pace import ORDER_CALLS, Window
from brokers.paper.book import PaperBook, QuoteOf
from quantleap.core.decimals import trimmed

_OK: Final = 200
_REFUSED: Final = 400
_TOKEN_HOUR_IST: Final = 6
#: Prefix of a login code of the test environment (docs/partners.md#the-test-environment).
MOCK_CODE: Final = "mock_token_"


class PaperAdapter:
    """:class:`brokers.base.BrokerAdapter` over the paper book. Stateless."""

    capabilities = Capabilities(
        kind="paper",
        label="Paper",
        windows=(Window(1.0, 10, ORDER_CALLS),),
        book_reads_per_second=Decimal(10),
        visibility_delay=Decimal(0),
        market_with_protection=True,
        returns_login_state=True,
        derivative_exchanges=(),
        changes_per_order=25,
    )

    def login_url(self, login_base: str, credentials: Credentials, state: str) -> str:
        """Empty: the test environment has no page and logs in with a ``mock_token_...`` code."""
        return f"{login_base.rstrip('/')}/?state={state}"

    def token_request(self, credentials: Credentials, code: str) -> HttpRequest:
        """Exchange of a mock code."""
        return _request("POST", "token", {"client_id": credentials.client_id, "code": code})

    def parse_token(self, response: HttpResponse) -> LoginResult:
        """The mock token, or the refusal of anything that is not a mock code."""
        answer = _answer(response)
        if response.status != _OK:
            return LoginResult(error=str(answer.get("message", "Login refused")))
        return LoginResult(
            access_token=str(answer.get("token", "")), client_id=str(answer.get("client_id", ""))
        )

    def token_expiry(self, now: dt.datetime) -> dt.datetime:
        """The next 06:00 IST."""
        return wire_values.next_ist_hour(now, _TOKEN_HOUR_IST)

    def owner(self, session: Session) -> HttpRequest:
        """Never used, because the token answer names the owner."""
        return _request("GET", "owner", {"client_id": session.client_id})

    def parse_owner(self, response: HttpResponse) -> OwnerRead:
        """Never used."""
        return OwnerRead(unknown=True, error="Paper was not asked")

    def place_order(self, session: Session, order: OrderRequest) -> HttpRequest:
        """The order as one JSON object."""
        check_order(order, self.capabilities)
        fields = {
            "client_id": session.client_id,
            "tag": order.tag,
            "exchange": order.instrument.exchange,
            "symbol": order.instrument.symbol,
            "token": order.instrument.token,
            "side": order.side.value,
            "quantity": str(order.quantity),
            "product": order.product.value,
            "order_type": order.order_type.value,
            "price": trimmed(order.price) if order.price is not None else "",
        }
        return _request("POST", "orders", fields)

    def parse_place(self, response: HttpResponse) -> SendResult:
        """Accepted, or unknown: the paper broker rejects only in the book."""
        order_id = wire_values.read_order_id(_answer(response).get("order_id"))
        if response.status == _OK and order_id:
            return SendResult(Outcome.ACCEPTED, broker_order_id=order_id)
        return SendResult(Outcome.UNKNOWN, cause=Cause.OTHER, message="No paper answer")

    def change_order(self, session: Session, change: PriceChange) -> HttpRequest:
        """Another price by id."""
        check_change(change)
        fields = {
            "client_id": session.client_id,
            "order_id": change.broker_order_id,
            "price": trimmed(change.price),
        }
        return _request("POST", "change", fields)

    def parse_change(self, response: HttpResponse) -> SendResult:
        """Accepted, refused if no such order is open, otherwise unknown."""
        if response.status == _REFUSED:
            return SendResult(Outcome.REFUSED, cause=Cause.INVALID, message="Order not open")
        return self.parse_place(response)

    def cancel_order(self, session: Session, broker_order_id: str) -> HttpRequest:
        """Cancel by id."""
        fields = {"client_id": session.client_id, "order_id": broker_order_id}
        return _request("POST", "cancel", fields)

    def parse_cancel(self, response: HttpResponse) -> SendResult:
        """Accepted, refused if the order does not exist, otherwise unknown."""
        if response.status == _REFUSED:
            return SendResult(Outcome.REFUSED, cause=Cause.INVALID, message="Order not found")
        return self.parse_place(response)

    def order_book(self, session: Session) -> HttpRequest:
        """The account's book."""
        return _request("GET", "book", {"client_id": session.client_id})

    def parse_order_book(self, response: HttpResponse) -> BookRead:
        """Today's paper orders."""
        rows = _answer(response).get("orders")
        if response.status != _OK or not isinstance(rows, list):
            return BookRead(ok=False, cause=Cause.OTHER, message="No paper answer")
        return BookRead(ok=True, orders=tuple(_report(row) for row in rows))

    def positions(self, session: Session) -> HttpRequest:
        """The account's positions."""
        return _request("GET", "positions", {"client_id": session.client_id})

    def parse_positions(self, response: HttpResponse) -> PositionRead:
        """Net paper positions."""
        rows = _answer(response).get("positions")
        if response.status != _OK or not isinstance(rows, list):
            return PositionRead(ok=False, cause=Cause.OTHER, message="No paper answer")
        positions = (
            NetPosition(row["exchange"], row["symbol"], Product(row["product"]), row["quantity"])
            for row in rows
        )
        return PositionRead(ok=True, positions=tuple(positions))

    def quotes(
        self, session: Session, instruments: Mapping[str, BrokerInstrument]
    ) -> Sequence[tuple[Sequence[str], HttpRequest]]:
        """None: paper orders fill against the platform's own feed."""
        return ()

    def parse_quotes(
        self,
        response: HttpResponse,
        keys: Sequence[str],
        instruments: Mapping[str, BrokerInstrument],
    ) -> QuoteRead:
        """Never used; not ok."""
        return QuoteRead(ok=False, cause=Cause.OTHER, message="Paper has no quotes")

    def index_instrument(self, underlying: str) -> BrokerInstrument | None:
        """None: see :meth:`quotes`."""
        return None

    def instruments_path(self, exchange: str) -> str:
        """Empty: paper orders use another broker's names."""
        return ""

    def parse_instruments(self, lines: Iterable[str]) -> InstrumentStream:
        """No rows."""
        return InstrumentStream(iter(()))


class PaperVenue:
    """Answers the paper adapter's requests in the process: one :class:`PaperBook` per client."""

    def __init__(self, quote_of: QuoteOf) -> None:
        """``quote_of`` supplies current quotes (the platform's feed, or a synthetic market)."""
        self._quote_of = quote_of
        self._books: dict[str, PaperBook] = {}

    def book(self, client_id: str) -> PaperBook:
        """The client's book, created if it does not exist."""
        return self._books.setdefault(client_id, PaperBook())

    def answer(self, request: HttpRequest) -> HttpResponse:
        """The answer that a broker would have sent."""
        fields = json.loads(request.body)
        operation = request.path.rpartition("/")[2]
        book = self.book(fields["client_id"])
        if operation == "token":
            return _login(fields)
        book.match(self._quote_of)
        if operation == "orders":
            order = _order(fields)
            report = book.place(order, self._quote_of(order.instrument))
            return _response(_OK, {"order_id": report.broker_order_id})
        if operation == "change":
            changed = book.change(fields["order_id"], Decimal(fields["price"]))
            if changed is None:
                return _response(_REFUSED, {})
            book.match(self._quote_of)
            return _response(_OK, {"order_id": changed.broker_order_id})
        if operation == "cancel":
            cancelled = book.cancel(fields["order_id"])
            if cancelled is None:
                return _response(_REFUSED, {})
            return _response(_OK, {"order_id": cancelled.broker_order_id})
        if operation == "book":
            return _response(_OK, {"orders": [_row(report) for report in book.orders()]})
        rows = [
            {
                "exchange": position.exchange,
                "symbol": position.symbol,
                "product": position.product,
                "quantity": position.quantity,
            }
            for position in book.positions()
        ]
        return _response(_OK, {"positions": rows})


def _request(method: str, operation: str, fields: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(method, f"/paper/{operation}", {}, json.dumps(fields).encode())


def _response(status: int, value: Mapping[str, Any]) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps(value).encode())


def _answer(response: HttpResponse) -> Mapping[str, Any]:
    return wire_values.read_object(response.body) or {}


def _login(fields: Mapping[str, str]) -> HttpResponse:
    if not fields["code"].startswith(MOCK_CODE):
        return _response(_REFUSED, {"message": f"A test login takes a code like {MOCK_CODE}1"})
    token = f"paper-{fields['client_id']}"
    return _response(_OK, {"token": token, "client_id": fields["client_id"]})


def _order(fields: Mapping[str, str]) -> OrderRequest:
    return OrderRequest(
        tag=fields["tag"],
        instrument=BrokerInstrument(fields["exchange"], fields["symbol"], fields["token"]),
        side=Side(fields["side"]),
        quantity=int(fields["quantity"]),
        product=Product(fields["product"]),
        order_type=OrderType(fields["order_type"]),
        price=Decimal(fields["price"]) if fields["price"] else None,
    )


def _row(report: OrderReport) -> dict[str, Any]:
    return {
        "order_id": report.broker_order_id,
        "tag": report.tag,
        "state": report.state,
        "quantity": report.quantity,
        "filled": report.filled_quantity,
        "average": str(report.average_price),
        "symbol": report.symbol,
        "exchange": report.exchange,
        "side": report.side,
        "product": report.product,
        "message": report.message,
        "cause": report.cause,
        "price": None if report.price is None else str(report.price),
    }


def _report(row: Mapping[str, Any]) -> OrderReport:
    return OrderReport(
        broker_order_id=row["order_id"],
        tag=row["tag"],
        state=BookState(row["state"]),
        quantity=row["quantity"],
        filled_quantity=row["filled"],
        average_price=Decimal(row["average"]),
        symbol=row["symbol"],
        exchange=row["exchange"],
        side=Side(row["side"]),
        product=Product(row["product"]),
        message=row["message"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        price=Decimal(row["price"]) if row["price"] else None,
    )
