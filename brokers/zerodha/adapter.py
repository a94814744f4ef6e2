"""Zerodha Kite Connect v3: our requests in Kite's format. ``parsing`` reads the answers.

Source of every path, field and limit: https://kite.trade/docs/connect/v3/; the requests equal those
recorded from the official SDK (``tests/data/kiteconnect-wire_values.jsonl``) field for field.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import quote, urlencode

from brokers import wire_values
from brokers.base import (
    BookRead,
    BrokerInstrument,
    Capabilities,
    Credentials,
    HttpRequest,
    HttpResponse,
    LoginResult,
    OrderRequest,
    OrderType,
    OwnerRead,
    PositionRead,
    PriceChange,
    Product,
    QuoteRead,
    SendResult,
    Session,
)
from brokers.instrument_rows import InstrumentStream
from brokers.orders import check_change, check_order
from brokers.pace import ORDER_CALLS, Call, Window
from brokers.zerodha import instruments, parsing
from quantleap.core.decimals import trimmed

_PRODUCTS: Final = {Product.INTRADAY: "MIS", Product.CARRY: "NRML"}
_FORM: Final = "application/x-www-form-urlencoded"
#: Kite takes 500 keys per call; 200 keep the request line below the 8 kB that many servers accept.
_QUOTE_BATCH: Final = 200
_TOKEN_HOUR_IST: Final = 6
_INDICES: Final = {
    "NIFTY": BrokerInstrument("NSE", "NIFTY 50", "256265"),
    "BANKNIFTY": BrokerInstrument("NSE", "NIFTY BANK", "260105"),
    "FINNIFTY": BrokerInstrument("NSE", "NIFTY FIN SERVICE", "257801"),
    "MIDCPNIFTY": BrokerInstrument("NSE", "NIFTY MID SELECT", "288009"),
    "SENSEX": BrokerInstrument("BSE", "SENSEX", "265"),
    "BANKEX": BrokerInstrument("BSE", "BANKEX", "274441"),
}
#: https://kite.trade/docs/connect/v3/exceptions/#api-rate-limit; the forum's staff (comments 52882,
#: 51478) count cancels and changes with the orders and name 5,000 a day, older pages 3,000.
_WINDOWS: Final = (
    Window(1.0, 10, ORDER_CALLS),
    Window(60.0, 400, ORDER_CALLS),
    Window(86_400.0, 3000, frozenset({Call.PLACE})),
    Window(1.0, 10, frozenset({Call.READ})),
    Window(1.0, 1, frozenset({Call.QUOTE})),
)


class ZerodhaAdapter:
    """Kite as a :class:`brokers.base.BrokerAdapter`. Stateless."""

    capabilities = Capabilities(
        kind="zerodha",
        label="Zerodha",
        windows=_WINDOWS,
        quote_batch=_QUOTE_BATCH,
        book_reads_per_second=Decimal(2),
        visibility_delay=Decimal(10),
        # https://kite.trade/forum/discussion/comment/52882
        cool_down=Decimal(10),
        market_with_protection=True,
        returns_login_state=True,
        login_code="request_token",
        # https://kite.trade/forum/discussion/9212
        changes_per_order=25,
    )

    # -- login -------------------------------------------------------------------------------
    def login_url(self, login_base: str, credentials: Credentials, state: str) -> str:
        """Kite's login page, which has no ``state`` but returns ``redirect_params``."""
        query = {
            "v": "3",
            "api_key": credentials.api_key,
            "redirect_params": urlencode({"state": state}),
        }
        return f"{login_base.rstrip('/')}/connect/login?{urlencode(query)}"

    def token_request(self, credentials: Credentials, code: str) -> HttpRequest:
        """Exchange of the redirect's ``request_token``, signed with the application's secret."""
        signed = credentials.api_key + code + credentials.api_secret
        form = {
            "api_key": credentials.api_key,
            "request_token": code,
            "checksum": hashlib.sha256(signed.encode()).hexdigest(),
        }
        return HttpRequest(
            "POST",
            "/session/token",
            {"X-Kite-Version": "3", "Content-Type": _FORM},
            urlencode(form).encode(),
        )

    def parse_token(self, response: HttpResponse) -> LoginResult:
        """Today's access token, or Kite's refusal."""
        return parsing.parse_token(response)

    def token_expiry(self, now: dt.datetime) -> dt.datetime:
        """The next 06:00 IST, when Kite invalidates every token, however young."""
        return wire_values.next_ist_hour(now, _TOKEN_HOUR_IST)

    def owner(self, session: Session) -> HttpRequest:
        """``GET /user/profile``."""
        return HttpRequest("GET", "/user/profile", self._headers(session))

    def parse_owner(self, response: HttpResponse) -> OwnerRead:
        """The owner of the session."""
        return parsing.parse_owner(response)

    # -- orders ------------------------------------------------------------------------------
    def place_order(self, session: Session, order: OrderRequest) -> HttpRequest:
        """``POST /orders/regular``; raises ``ValueError`` for an order that Kite cannot carry."""
        check_order(order, self.capabilities)
        form = {
            "variety": "regular",
            "exchange": order.instrument.exchange,
            "tradingsymbol": order.instrument.symbol,
            "transaction_type": order.side.value,
            "quantity": str(order.quantity),
            "product": _PRODUCTS[order.product],
            "order_type": "LIMIT" if order.order_type is OrderType.LIMIT else "MARKET",
            "validity": "DAY",
        }
        if order.order_type is OrderType.LIMIT and order.price is not None:
            form["price"] = trimmed(order.price)
        if session.algo_id:
            form["algo_id"] = session.algo_id
        form["tag"] = order.tag
        if order.order_type is OrderType.MARKET_WITH_PROTECTION:
            form["market_protection"] = "-1"  # automatic band; 0 is refused since April 2026
        return HttpRequest(
            "POST",
            "/orders/regular",
            {**self._headers(session), "Content-Type": _FORM},
            urlencode(form).encode(),
        )

    def parse_place(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the order."""
        return parsing.parse_write(response)

    def change_order(self, session: Session, change: PriceChange) -> HttpRequest:
        """``PUT /orders/regular/{id}``; raises ``ValueError`` for an impossible change.

        Without a quantity: what a change does not name stays as it is, so that no change, however
        late it arrives, can make an order larger (https://kite.trade/docs/connect/v3/orders/).
        """
        check_change(change)
        form = {
            "variety": "regular",
            "order_id": change.broker_order_id,
            "price": trimmed(change.price),
            "order_type": "LIMIT",
        }
        return HttpRequest(
            "PUT",
            f"/orders/regular/{quote(change.broker_order_id, safe='')}",
            {**self._headers(session), "Content-Type": _FORM},
            urlencode(form).encode(),
        )

    def parse_change(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the change request."""
        return parsing.parse_change(response)

    def cancel_order(self, session: Session, broker_order_id: str) -> HttpRequest:
        """``DELETE /orders/regular/{id}``."""
        path = f"/orders/regular/{quote(broker_order_id, safe='')}"
        return HttpRequest("DELETE", path, self._headers(session))

    def parse_cancel(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the cancel request."""
        return parsing.parse_write(response)

    def order_book(self, session: Session) -> HttpRequest:
        """``GET /orders``."""
        return HttpRequest("GET", "/orders", self._headers(session))

    def parse_order_book(self, response: HttpResponse) -> BookRead:
        """Today's orders, or a failed read."""
        return parsing.parse_order_book(response)

    def positions(self, session: Session) -> HttpRequest:
        """``GET /portfolio/positions``."""
        return HttpRequest("GET", "/portfolio/positions", self._headers(session))

    def parse_positions(self, response: HttpResponse) -> PositionRead:
        """Net positions, or a failed read."""
        return parsing.parse_positions(response)

    # -- market data -------------------------------------------------------------------------
    def quotes(
        self, session: Session, instruments: Mapping[str, BrokerInstrument]
    ) -> Sequence[tuple[Sequence[str], HttpRequest]]:
        """Full quotes (depth and exchange time), many instruments per request."""
        keys = list(instruments)
        batches = [keys[i : i + _QUOTE_BATCH] for i in range(0, len(keys), _QUOTE_BATCH)]
        return [(batch, self._quote_request(session, batch, instruments)) for batch in batches]

    def _quote_request(
        self, session: Session, keys: Sequence[str], instruments: Mapping[str, BrokerInstrument]
    ) -> HttpRequest:
        query = urlencode([("i", parsing.quote_key(instruments[key])) for key in keys])
        return HttpRequest("GET", f"/quote?{query}", self._headers(session))

    def parse_quotes(
        self,
        response: HttpResponse,
        keys: Sequence[str],
        instruments: Mapping[str, BrokerInstrument],
    ) -> QuoteRead:
        """Quotes of one answer by our keys."""
        return parsing.parse_quotes(response, keys, instruments)

    def index_instrument(self, underlying: str) -> BrokerInstrument | None:
        """The spot index as Kite quotes it."""
        return _INDICES.get(underlying)

    # -- instruments -------------------------------------------------------------------------
    def instruments_path(self, exchange: str) -> str:
        """The daily CSV dump of one exchange."""
        return f"/instruments/{exchange}"

    def parse_instruments(self, lines: Iterable[str]) -> InstrumentStream:
        """Index derivatives of a dump."""
        return InstrumentStream(instruments.parse(lines))

    @staticmethod
    def _headers(session: Session) -> dict[str, str]:
        return {
            "X-Kite-Version": "3",
            "Authorization": f"token {session.api_key}:{session.access_token}",
        }
