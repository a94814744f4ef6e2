"""Kite Connect v3 on the wire: routes, order calls and the login page.

Source: https://kite.trade/docs/connect/v3/.
"""

from __future__ import annotations

import gzip
from decimal import Decimal, InvalidOperation
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from brokers.simulator import kite_views as views
from brokers.simulator.book import PlaceCall
from brokers.simulator.contracts import EXCHANGES
from brokers.simulator.exchange import Exchange, Placed
from brokers.simulator.faults import Fault, Kind
from brokers.simulator.limits import QUOTES, READS
from brokers.simulator.messages import KITE_REFUSALS, fill
from brokers.simulator.rules import Reason, Refusal
from brokers.simulator.sessions import ZERODHA, Login, with_query
from brokers.simulator.wire import Answer, Call, html_answer, json_answer, redirect

VARIETIES: Final = ("regular", "amo", "co", "iceberg", "auction")
MAX_QUOTES: Final = {"/quote": 500, "/quote/ohlc": 1000, "/quote/ltp": 1000}

LOGIN_PAGE: Final = """<!doctype html>
<html><head><title>Kite - Login</title><link rel="icon" href="data:,"></head><body>
<h1>Login to Kite</h1>
<form method="post" action="/connect/login">
<input type="hidden" name="api_key" value="{api_key}">
<input type="hidden" name="v" value="3">
<input type="hidden" name="redirect_params" value="{redirect_params}">
<label>User ID <input name="user_id" required></label>
<label>Password <input name="password" type="password" required></label>
<button type="submit">Login</button>
</form></body></html>
"""


class KiteError(Exception):
    """A request that Kite answers with its error envelope."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message = status, error_type, message

    def answer(self, fault: Fault | None = None) -> Answer:
        """The error envelope."""
        return json_answer(
            {
                "status": "error",
                "message": self.message,
                "data": None,
                "error_type": self.error_type,
            },
            self.status,
            fault,
        )


def refusal_error(refusal: Refusal) -> KiteError:
    """A refusal in Kite's wording."""
    status, error_type, template = KITE_REFUSALS[refusal.reason]
    return KiteError(status, error_type, fill(template, refusal))


class KiteWire:
    """Answers every request of the Kite port."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._files: dict[tuple[object, ...], bytes] = {}

    def __call__(self, call: Call) -> Answer:
        """One request in, one answer out; never raises on what a client sent."""
        try:
            return self._route(call)
        except KiteError as error:
            return error.answer()

    def _route(self, call: Call) -> Answer:
        path = call.path.rstrip("/") or "/"
        if path == "/connect/login":
            return self._login_page(call)
        if path == "/session/token":
            return self._end_session(call) if call.method == "DELETE" else self._token(call)
        if path == "/instruments" or path.startswith("/instruments/"):
            # the real dump is also served without a session
            return self._instruments(call, path)
        if path.startswith("/orders/") and call.method in ("POST", "PUT", "DELETE"):
            return self._change(call, path.split("/")[2:])
        if call.method != "GET":
            raise KiteError(405, "GeneralException", "Invalid HTTP method for route.")
        return self._read(call, path)

    # -- session -----------------------------------------------------------------------------
    def _login_page(self, call: Call) -> Answer:
        form = call.form()
        api_key = form.get("api_key", "")
        if not api_key:
            return html_answer("<h1>Invalid api_key</h1>", 400)
        if call.method == "POST":
            if form.get("user_id") and form.get("password"):
                return self._logged_in(form)
            return html_answer("<h1>Invalid user id or password</h1>", 403)
        redirect_params = escape(form.get("redirect_params", ""), quote=True)
        return html_answer(
            LOGIN_PAGE.format(api_key=escape(api_key, quote=True), redirect_params=redirect_params)
        )

    def _logged_in(self, form: dict[str, str]) -> Answer:
        api_key = form["api_key"]
        client_id = form["user_id"].strip().upper()
        code = self.exchange.sessions.grant_code(ZERODHA, api_key, client_id, self.exchange.now())
        extra = {"action": "login", "type": "login", "status": "success", "request_token": code}
        extra |= dict(parse_qsl(form.get("redirect_params", ""), keep_blank_values=True))
        target = self.exchange.sessions.redirect_of(ZERODHA, api_key)
        return redirect(with_query(target, extra))

    def _token(self, call: Call) -> Answer:
        form = call.form()
        now = self.exchange.now()
        fault = self.exchange.faults.strike("token", now, broker=ZERODHA)
        if fault is not None and fault.prevents_acceptance:
            return _fault_error(fault).answer(fault)
        result = self.exchange.sessions.exchange(
            ZERODHA,
            form.get("request_token", ""),
            form.get("checksum", ""),
            now,
            form.get("api_key", ""),
        )
        if result == "checksum":
            raise KiteError(403, "TokenException", "Invalid `checksum`.")
        if isinstance(result, str):
            raise KiteError(403, "TokenException", "Token is invalid or has expired.")
        return json_answer(views.success(views.session(result)), fault=fault)

    def _end_session(self, call: Call) -> Answer:
        token = call.form().get("access_token", "")
        if not self.exchange.sessions.revoke(token):
            raise refusal_error(Refusal(Reason.SESSION_EXPIRED))
        return json_answer(views.success(True))

    def _login(self, call: Call) -> Login:
        scheme, _, rest = call.headers.get("Authorization", "").partition(" ")
        api_key, _, token = rest.partition(":")
        login = self.exchange.sessions.check(ZERODHA, token, self.exchange.now())
        if scheme != "token" or login is None or login.api_key != api_key:
            raise refusal_error(Refusal(Reason.SESSION_EXPIRED))
        return login

    # -- orders ------------------------------------------------------------------------------
    def _change(self, call: Call, parts: list[str]) -> Answer:
        if call.method == "POST" and len(parts) == 1:
            return self._place(call, parts[0])
        login = self._login(call)
        if len(parts) != 2 or call.method == "POST":
            raise KiteError(404, "GeneralException", "Route not found")
        operation = "cancel" if call.method == "DELETE" else "modify"
        fault = self._strike(operation, login)
        if fault is not None and fault.prevents_acceptance:
            return self._spoiled(fault, login)
        order_id = parts[1]
        if call.method == "DELETE":
            placed = self.exchange.cancel(ZERODHA, login.client_id, order_id, call.received_at)
        else:
            placed = self._modify(call, login, order_id)
        return self._changed(placed, order_id, fault)

    def _modify(self, call: Call, login: Login, order_id: str) -> Placed:
        form = call.form()
        order_type = form.get("order_type")
        if order_type not in (None, "LIMIT", "SL"):
            raise refusal_error(Refusal(Reason.INVALID, {"field": "order_type"}))
        return self.exchange.modify(
            ZERODHA,
            login.client_id,
            order_id,
            call.received_at,
            quantity=_whole_number(form, "quantity") if form.get("quantity") else None,
            price=_number(form, "price") if form.get("price") else None,
            trigger_price=_number(form, "trigger_price") if form.get("trigger_price") else None,
            order_type=order_type,
        )

    def _changed(self, placed: Placed, order_id: str, fault: Fault | None) -> Answer:
        refusal = placed.refusal
        if refusal is None:
            return json_answer(views.success({"order_id": order_id}), fault=fault)
        if refusal.reason is not Reason.OTHER:
            return refusal_error(refusal).answer(fault)
        if placed.order is None:
            return KiteError(404, "OrderException", "Couldn't find that `order_id`.").answer(fault)
        words = f"Order cannot be changed as it is being processed or is {placed.order.status}."
        return KiteError(400, "OrderException", words).answer(fault)

    def _place(self, call: Call, variety: str) -> Answer:
        try:
            login = self._login(call)
        except KiteError:
            self._note_dead_session(call)
            raise
        form = call.form()
        if variety not in VARIETIES:
            raise refusal_error(Refusal(Reason.INVALID, {"field": "variety"}))
        try:
            place_call = _place_call(login, form, call)
        except KiteError:
            refused = _raw_call(login.client_id, form, call)
            self.exchange.refuse(refused, Refusal(Reason.INVALID))
            raise
        if variety != "regular":
            refusal = Refusal(Reason.INVALID, {"field": "variety"})
            self.exchange.refuse(place_call, refusal)
            raise refusal_error(refusal)
        placed = self.exchange.place(place_call)
        if placed.refusal is None and placed.order is not None:
            data = {"order_id": placed.order.order_id}
            return json_answer(views.success(data), fault=placed.fault)
        if placed.fault is not None and placed.fault.prevents_acceptance:
            return self._spoiled(placed.fault, login, placed.refusal)
        return refusal_error(placed.refusal or Refusal(Reason.OTHER)).answer(placed.fault)

    def _note_dead_session(self, call: Call) -> None:
        token = call.headers.get("Authorization", "").rpartition(":")[2]
        client_id = self.exchange.sessions.owner_of_dead(token)
        self.exchange.refuse(
            _raw_call(client_id, call.form(), call), Refusal(Reason.SESSION_EXPIRED)
        )

    # -- faults ------------------------------------------------------------------------------
    def _strike(self, operation: str, login: Login) -> Fault | None:
        return self.exchange.faults.strike(
            operation, self.exchange.now(), broker=ZERODHA, client_id=login.client_id
        )

    def _spoiled(self, fault: Fault, login: Login, refusal: Refusal | None = None) -> Answer:
        if fault.kind is Kind.EXPIRED_SESSION and fault.params.get("revoke", True):
            self.exchange.sessions.revoke(login.token)
        return (refusal_error(refusal) if refusal else _fault_error(fault)).answer(fault)

    # -- reads -------------------------------------------------------------------------------
    def _read(self, call: Call, path: str) -> Answer:
        login = self._login(call)
        operation = (
            "book"
            if path.startswith(("/orders", "/trades"))
            else "positions"
            if path == "/portfolio/positions"
            else "quote"
        )
        kind = QUOTES if path in MAX_QUOTES else READS
        throttled = self.exchange.throttle(ZERODHA, login.client_id, kind, call.received_at)
        if throttled is not None:
            raise refusal_error(throttled)
        fault = self._strike(operation, login)
        if fault is not None and fault.prevents_acceptance:
            return self._spoiled(fault, login)
        return json_answer(views.success(self._data(call, path, login, fault)), fault=fault)

    def _data(self, call: Call, path: str, login: Login, fault: Fault | None) -> object:
        exchange = self.exchange
        now = exchange.now()
        _ = exchange.contracts  # rolls the day
        account = exchange.book.account(ZERODHA, login.client_id)
        if path in MAX_QUOTES:
            keys = [value for name, value in call.query() if name == "i"]
            if len(keys) > MAX_QUOTES[path]:
                raise KiteError(400, "InputException", "Too many instruments.")
            return views.quotes(exchange, path, keys)
        if path == "/orders":
            orders = account.visible_orders(now)
            if exchange.manner.history:
                return [row for o in orders for row in views.history(o)]
            return [views.order(o) for o in orders]
        if path == "/trades":
            return [row for o in account.visible_orders(now) for row in views.trades(o)]
        if path.startswith("/orders/"):
            parts = path.split("/")
            order = exchange.book.find(ZERODHA, login.client_id, parts[2])
            if order is None or order.visible_at > now:
                raise KiteError(404, "OrderException", "Couldn't find that `order_id`.")
            return views.trades(order) if parts[3:] == ["trades"] else views.history(order)
        if path == "/portfolio/positions":
            return views.positions(exchange, account, now, fault.lag if fault else 0.0)
        if path == "/user/profile":
            return views.profile(login)
        if path == "/user/margins":
            return views.margins(exchange, account)
        if path in ("/user/margins/equity", "/user/margins/commodity"):
            return views.margins(exchange, account)[path.rsplit("/", 1)[1]]
        raise KiteError(404, "GeneralException", "Route not found")

    def _instruments(self, call: Call, path: str) -> Answer:
        contracts = self.exchange.contracts
        segment = path.removeprefix("/instruments").strip("/")
        if segment not in ("", *EXCHANGES):
            raise KiteError(400, "InputException", "Invalid exchange.")
        zipped = "gzip" in call.headers.get("Accept-Encoding", "")
        key = (contracts.day, segment, zipped)
        if key not in self._files:
            text = (contracts.kite_csv(segment) if segment else contracts.kite_dump()).encode()
            self._files[key] = gzip.compress(text, 6) if zipped else text
        headers = {"Content-Encoding": "gzip"} if zipped else {}
        return Answer(200, self._files[key], "text/csv", headers)


def _fault_error(fault: Fault) -> KiteError:
    reasons = {Kind.RATE_LIMIT: Reason.RATE_LIMIT, Kind.EXPIRED_SESSION: Reason.SESSION_EXPIRED}
    facts = {"message": fault.params["message"]} if fault.kind is Kind.SAY else {}
    return refusal_error(Refusal(reasons.get(fault.kind, Reason.BROKER_DOWN), facts))


def _invalid(field: str) -> KiteError:
    return refusal_error(Refusal(Reason.INVALID, {"field": field}))


def _choice(form: dict[str, str], field: str, allowed: tuple[str, ...]) -> str:
    value = form.get(field, "")
    if value not in allowed:
        raise _invalid(field)
    return value


def _whole_number(form: dict[str, str], field: str) -> int:
    value = form.get(field, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise _invalid(field)
    return int(value)


def _number(form: dict[str, str], field: str) -> Decimal:
    try:
        value = Decimal(form.get(field) or "0")
    except InvalidOperation:
        raise _invalid(field) from None
    if not value.is_finite() or abs(value) > 10**7:
        raise _invalid(field)
    return value


def _place_call(login: Login, form: dict[str, str], call: Call) -> PlaceCall:
    """The order a form describes. Raises :class:`KiteError` naming the first bad field."""
    tag = form.get("tag", "")
    if len(tag) > 20 or (tag and not (tag.isascii() and tag.isalnum())):
        raise _invalid("tag")
    if not form.get("tradingsymbol"):
        raise _invalid("tradingsymbol")
    has_protection = bool(form.get("market_protection"))
    return PlaceCall(
        broker=ZERODHA,
        client_id=login.client_id,
        tag=tag,
        exchange=_choice(form, "exchange", ("NFO", "NSE", "BSE", "BFO", "MCX", "CDS")),
        symbol=form["tradingsymbol"],
        side=_choice(form, "transaction_type", ("BUY", "SELL")),
        quantity=_whole_number(form, "quantity"),
        product=_choice(form, "product", ("MIS", "NRML")),
        order_type=_choice(form, "order_type", ("LIMIT", "MARKET", "SL", "SL-M")),
        price=_number(form, "price"),
        received_at=call.received_at,
        trigger_price=_number(form, "trigger_price"),
        validity=_choice({"validity": form.get("validity") or "DAY"}, "validity", ("DAY", "IOC")),
        protection=_number(form, "market_protection") if has_protection else None,
        app=login.api_key,
    )


def _raw_call(client_id: str, form: dict[str, str], call: Call) -> PlaceCall:
    """The known facts of a call that was refused before it was parsed."""
    quantity = form.get("quantity", "")
    return PlaceCall(
        broker=ZERODHA,
        client_id=client_id,
        tag=form.get("tag", "")[:40],
        exchange=form.get("exchange", ""),
        symbol=form.get("tradingsymbol", ""),
        side=form.get("transaction_type", ""),
        quantity=int(quantity) if quantity.isascii() and quantity.isdigit() else 0,
        product=form.get("product", ""),
        order_type=form.get("order_type", ""),
        price=Decimal(0),
        received_at=call.received_at,
    )
