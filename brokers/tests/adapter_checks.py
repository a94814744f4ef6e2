"""The adapters tested against the simulator: the same checks for every broker."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from urllib.parse import parse_qs, urlencode, urlsplit

from brokers.base import (
    BrokerAdapter,
    BrokerInstrument,
    Credentials,
    HttpRequest,
    HttpResponse,
    OrderReport,
    OrderRequest,
    OwnerRead,
    PriceChange,
    Product,
    SendResult,
    Session,
    Side,
)
from brokers.registry import get_adapter
from brokers.simulator.wire import FORM
from brokers.tests.driven_simulator import DrivenSimulator

API_KEY = "appkey1"
KINDS = ("zerodha", "zebu")
TAG = "Q0123456789ABa"


class Exam:
    """One adapter, logged in at a fresh simulator."""

    def __init__(self, kind: str) -> None:
        self.simulator = DrivenSimulator()
        self.adapter: BrokerAdapter = get_adapter(kind)
        self.kind = kind
        self.wire = self.simulator.kite_wire if kind == "zerodha" else self.simulator.noren_wire
        self.contract = self.simulator.atm()
        self.instrument = self.name(self.contract.token)
        self.session = self.log_in()

    def name(self, token: int) -> BrokerInstrument:
        contract = self.simulator.exchange.contracts.by_token[token]
        if self.kind == "zerodha":
            symbol, number = contract.kite_symbol, contract.kite_token
        else:
            symbol, number = contract.noren_symbol, contract.token
        return BrokerInstrument(contract.exchange, symbol, str(number))

    def ask(self, request: HttpRequest) -> HttpResponse:
        answer = self.simulator.send(
            self.wire, request.method, request.path, request.body, _titled(request.headers)
        )
        return HttpResponse(answer.status, {"content-type": answer.content_type}, answer.body)

    def log_in(self) -> Session:
        credentials = Credentials("AB1234", API_KEY, f"secret-{API_KEY}")
        self.simulator.control(
            "POST", "/apps", broker=self.kind, api_key=API_KEY, redirect_url="http://h/done"
        )
        page = urlsplit(self.adapter.login_url("http://h", credentials, "st4te"))
        query = {key: values[0] for key, values in parse_qs(page.query).items()}
        form = urlencode(query | {"user_id": "AB1234", "password": "x"}).encode()
        answer = self.simulator.send(self.wire, "POST", page.path, form, {"Content-Type": FORM})
        done = parse_qs(urlsplit(answer.headers["Location"]).query)
        if self.adapter.capabilities.returns_login_state:
            assert "st4te" in {value for values in done.values() for value in values}
        code = done["request_token" if self.kind == "zerodha" else "code"][0]
        self.code = code
        response = self.ask(self.adapter.token_request(credentials, code))
        result = self.adapter.parse_token(response)
        assert (result.error, result.unknown) == ("", False)
        session = Session("AB1234", API_KEY, result.access_token)
        owner = self.adapter.parse_owner(self.ask(self.adapter.owner(session)))
        assert owner == OwnerRead(client_id="AB1234")
        assert result.client_id in ("", "AB1234")
        self.login = result
        return session

    def order(self, **changes: object) -> OrderRequest:
        quote = self.simulator.exchange.quote(self.contract)
        order = OrderRequest(
            tag=TAG,
            instrument=self.instrument,
            side=Side.BUY,
            quantity=65,
            product=Product.INTRADAY,
            price=quote.ask,
        )
        return dataclasses.replace(order, **changes)  # type: ignore[arg-type]

    def place(self, **changes: object) -> HttpResponse:
        return self.ask(self.adapter.place_order(self.session, self.order(**changes)))

    def change(self, order_id: str, price: Decimal, quantity: int = 65) -> SendResult:
        change = PriceChange(order_id, self.instrument, quantity, price)
        answer = self.ask(self.adapter.change_order(self.session, change))
        return self.adapter.parse_change(answer)

    def row(self) -> OrderReport:
        book = self.adapter.parse_order_book(self.ask(self.adapter.order_book(self.session)))
        (order,) = book.orders
        return order


def _titled(headers: object) -> dict[str, str]:
    return {name.title(): value for name, value in dict(headers).items()}  # type: ignore[call-overload]
