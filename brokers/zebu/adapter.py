"""Zebu MYNT: our requests in Noren's format. ``parsing`` reads the answers.

Every call is ``POST /NorenWClientAPI/<Operation>`` with the literal body ``jData=<json>``, all
values strings, authorised by a bearer token. Sources: docs/brokers/adapters.md#sources.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

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
from brokers.pace import Window
from brokers.zebu import instruments, parsing
from quantleap.core.decimals import trimmed

_ROOT: Final = "/NorenWClientAPI"
_CONTENT_TYPE: Final = "application/json; charset=utf-8"
_PRODUCTS: Final = {Product.INTRADAY: "I", Product.CARRY: "M"}
_SIDES: Final = {Side.BUY: "B", Side.SELL: "S"}
#: The hour is not documented; 05:00 IST is before any use of the day.
_TOKEN_HOUR_IST: Final = 5
_INDICES: Final = {
    "NIFTY": BrokerInstrument("NSE", "Nifty 50", "26000"),
    "BANKNIFTY": BrokerInstrument("NSE", "Nifty Bank", "26009"),
    "FINNIFTY": BrokerInstrument("NSE", "Nifty Fin Services", "26037"),
    "MIDCPNIFTY": BrokerInstrument("NSE", "NIFTY MID SELECT", "26074"),
    "SENSEX": BrokerInstrument("BSE", "SENSEX", "1"),
    "BANKEX": BrokerInstrument("BSE", "BANKEX", "12"),
}
#: Every operation counts, of everybody who uses the login (openalgo,
#: broker/tradesmart/api/rate_limiter.py: observed at two brokers that run Noren).
_WINDOWS: Final = (Window(1.0, 10), Window(60.0, 120))


class ZebuAdapter:
    """Zebu as a :class:`brokers.base.BrokerAdapter`. Stateless.

    ``Credentials.client_id`` is the user id (``Z56004``), ``api_key`` the OAuth client id of the
    application (``Z56004_U``).
    """

    capabilities = Capabilities(
        kind="zebu",
        label="Zebu",
        windows=_WINDOWS,
        book_reads_per_second=Decimal(2),
        visibility_delay=Decimal(10),
        market_with_protection=False,
        # Not documented: as many as elsewhere; beyond that a new order is no worse.
        changes_per_order=25,
        returns_login_state=False,
    )

    # -- login -------------------------------------------------------------------------------
    def login_url(self, login_base: str, credentials: Credentials, state: str) -> str:
        """Zebu's login page. It returns no state, so ``state`` is not sent: the caller keeps it."""
        query = urlencode({"client_id": credentials.api_key})
        return f"{login_base.rstrip('/')}/OAuthlogin/authorize/oauth?{query}"

    def token_request(self, credentials: Credentials, code: str) -> HttpRequest:
        """Exchange of the redirect's ``code``, signed with the application's secret."""
        signed = credentials.api_key + credentials.api_secret + code
        checksum = hashlib.sha256(signed.encode()).hexdigest()
        fields = {"code": code, "checksum": checksum, "uid": credentials.client_id}
        return _call("GenAcsTok", fields)

    def parse_token(self, response: HttpResponse) -> LoginResult:
        """Today's access token, or Zebu's refusal."""
        return parsing.parse_token(response)

    def token_expiry(self, now: dt.datetime) -> dt.datetime:
        """The next 05:00 IST."""
        return wire_values.next_ist_hour(now, _TOKEN_HOUR_IST)

    def owner(self, session: Session) -> HttpRequest:
        """``ClientDetails``, because the documented token answer names no owner."""
        fields = {"uid": session.client_id, "actid": session.client_id, "brkname": "ZEBU"}
        return _call("ClientDetails", fields, session)

    def parse_owner(self, response: HttpResponse) -> OwnerRead:
        """The owner of the session."""
        return parsing.parse_owner(response)

    # -- orders ------------------------------------------------------------------------------
    def place_order(self, session: Session, order: OrderRequest) -> HttpRequest:
        """``PlaceOrder``; raises ``ValueError`` for an order that Zebu cannot carry (market
        orders)."""
        check_order(order, self.capabilities)
        fields = {
            "uid": session.client_id,
            "actid": session.client_id,
            "exch": order.instrument.exchange,
            "tsym": order.instrument.symbol,
            "qty": str(order.quantity),
            "prc": trimmed(order.price or Decimal(0)),
            "dscqty": "0",
            "prd": _PRODUCTS[order.product],
            "trantype": _SIDES[order.side],
            "prctyp": "LMT",
            "ret": "DAY",
            "remarks": order.tag,
            "ordersource": "API",
        }
        if session.algo_id:
            fields["algo_id"] = session.algo_id
        return _call("PlaceOrder", fields, session)

    def parse_place(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the order."""
        return parsing.parse_write(response, "norenordno")

    def change_order(self, session: Session, change: PriceChange) -> HttpRequest:
        """``ModifyOrder``; raises ``ValueError`` for an impossible change.

        ``qty`` is the order's whole quantity, including what has filled. There is no trigger price:
        for a limit order, 0 is refused.
        """
        check_change(change)
        fields = {
            "uid": session.client_id,
            "actid": session.client_id,
            "norenordno": change.broker_order_id,
            "exch": change.instrument.exchange,
            "tsym": change.instrument.symbol,
            "qty": str(change.quantity),
            "prc": trimmed(change.price),
            "prctyp": "LMT",
            "ret": "DAY",
            "ordersource": "API",
        }
        return _call("ModifyOrder", fields, session)

    def parse_change(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the change request."""
        return parsing.parse_write(response, "result")

    def cancel_order(self, session: Session, broker_order_id: str) -> HttpRequest:
        """``CancelOrder``."""
        fields = {"uid": session.client_id, "norenordno": broker_order_id, "ordersource": "API"}
        return _call("CancelOrder", fields, session)

    def parse_cancel(self, response: HttpResponse) -> SendResult:
        """What the answer proves about the cancel request."""
        return parsing.parse_write(response, "result")

    def order_book(self, session: Session) -> HttpRequest:
        """``OrderBook``."""
        return _call("OrderBook", {"uid": session.client_id}, session)

    def parse_order_book(self, response: HttpResponse) -> BookRead:
        """Today's orders, or a failed read."""
        return parsing.parse_order_book(response)

    def positions(self, session: Session) -> HttpRequest:
        """``PositionBook``."""
        fields = {"uid": session.client_id, "actid": session.client_id}
        return _call("PositionBook", fields, session)

    def parse_positions(self, response: HttpResponse) -> PositionRead:
        """Net positions, or a failed read."""
        return parsing.parse_positions(response)

    # -- market data -------------------------------------------------------------------------
    def quotes(
        self, session: Session, instruments: Mapping[str, BrokerInstrument]
    ) -> Sequence[tuple[Sequence[str], HttpRequest]]:
        """``GetQuotes``, one instrument per call: Noren has no batch."""
        return [
            ((key,), self._quote_request(session, instrument))
            for key, instrument in instruments.items()
        ]

    def _quote_request(self, session: Session, instrument: BrokerInstrument) -> HttpRequest:
        fields = {"uid": session.client_id, "exch": instrument.exchange, "token": instrument.token}
        return _call("GetQuotes", fields, session)

    def parse_quotes(
        self,
        response: HttpResponse,
        keys: Sequence[str],
        instruments: Mapping[str, BrokerInstrument],
    ) -> QuoteRead:
        """The quote of one answer by our key."""
        return parsing.parse_quotes(response, keys, instruments)

    def index_instrument(self, underlying: str) -> BrokerInstrument | None:
        """The spot index as Noren quotes it, by token."""
        return _INDICES.get(underlying)

    # -- instruments -------------------------------------------------------------------------
    def instruments_path(self, exchange: str) -> str:
        """The zipped master of one exchange."""
        return f"/{exchange}_symbols.txt.zip"

    def parse_instruments(self, lines: Iterable[str]) -> InstrumentStream:
        """Index derivatives of a master."""
        return InstrumentStream(instruments.parse(lines))


def _call(operation: str, fields: Mapping[str, str], session: Session | None = None) -> HttpRequest:
    """One Noren call. ``&`` would end the field for its parser, so it is JSON-escaped."""
    text = json.dumps(fields, separators=(",", ":")).replace("&", "\\u0026")
    headers = {"Content-Type": _CONTENT_TYPE}
    if session is not None:
        headers["Authorization"] = f"Bearer {session.access_token}"
    return HttpRequest("POST", f"{_ROOT}/{operation}", headers, f"jData={text}".encode())
