"""NorenOMS (Zebu MYNT) on the wire: operations, tokens, login page.

Sources: docs/brokers/adapters.md#sources.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from html import escape
from typing import Final
from urllib.parse import unquote_plus

from brokers.simulator import noren_views as views
from brokers.simulator.book import Account, PlaceCall
from brokers.simulator.contracts import EXCHANGES
from brokers.simulator.exchange import Exchange, Placed
from brokers.simulator.faults import Fault, Kind
from brokers.simulator.limits import ORDERS, PLACED, QUOTES, READS
from brokers.simulator.messages import NOREN_REFUSALS, fill
from brokers.simulator.rules import Reason, Refusal, too_fast
from brokers.simulator.sessions import ZEBU, Login, with_query
from brokers.simulator.wire import Answer, Call, html_answer, json_answer, redirect

BASE: Final = "/NorenWClientAPI/"
MASTERS: Final = {f"/{exchange}_symbols.txt.zip": exchange for exchange in EXCHANGES}
SIDES: Final = {"B": "BUY", "S": "SELL"}
PRODUCTS: Final = {"I": "MIS", "M": "NRML"}
ORDER_TYPES: Final = {"LMT": "LIMIT", "MKT": "MARKET", "SL-LMT": "SL", "SL-MKT": "SL-M"}
#: Operations other than plain reads; all of them count alike.
KINDS: Final = {
    "PlaceOrder": PLACED,
    "ModifyOrder": ORDERS,
    "CancelOrder": ORDERS,
    "GetQuotes": QUOTES,
}

LOGIN_PAGE: Final = """<!doctype html>
<html><head><title>MYNT - Login</title><link rel="icon" href="data:,"></head><body>
<h1>Login to MYNT</h1>
<form method="post" action="/OAuthlogin/authorize/oauth">
<input type="hidden" name="client_id" value="{client_id}">
<label>User ID <input name="user_id" required></label>
<label>Password <input name="password" type="password" required></label>
<button type="submit">Login</button>
</form></body></html>
"""

Fields = dict[str, str]


class NorenError(Exception):
    """A request that Noren answers with ``stat`` Not_Ok."""

    def __init__(self, emsg: str, status: int = 200) -> None:
        super().__init__(emsg)
        self.emsg, self.status = emsg, status


def refusal_error(refusal: Refusal) -> NorenError:
    """A refusal in Noren's wording."""
    status, template = NOREN_REFUSALS[refusal.reason]
    return NorenError(fill(template, refusal), status)


class NorenWire:
    """Answers every request of the Noren port."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._archives: dict[str, tuple[object, bytes]] = {}
        self._reads: dict[str, tuple[str, Callable[[Login, Fields], object]]] = {
            "OrderBook": ("book", self._order_book),
            "SingleOrdHist": ("book", self._order_history),
            "TradeBook": ("book", self._trade_book),
            "PositionBook": ("positions", self._position_book),
            "Limits": ("positions", self._limits),
            "ClientDetails": ("token", self._client),
            "GetQuotes": ("quote", self._quotes),
            "SearchScrip": ("quote", self._search),
            "GetSecurityInfo": ("quote", self._security),
        }

    def __call__(self, call: Call) -> Answer:
        """One request in, one answer out; never raises on what a client sent."""
        try:
            return self._route(call)
        except NorenError as error:
            return self._not_ok(error)

    def _route(self, call: Call) -> Answer:
        if call.path == "/OAuthlogin/authorize/oauth":
            return self._login_page(call)
        if call.path in MASTERS and call.method == "GET":
            return self._master(MASTERS[call.path])
        if not call.path.startswith(BASE) or call.method != "POST":
            return html_answer("<h1>404 Not Found</h1>", 404)
        operation = call.path.removeprefix(BASE)
        fields, key = _fields(call.body)
        if operation == "GenAcsTok":
            return self._token(fields)
        login = self._login(call, fields, key, operation)
        self._throttle(call, login, fields, operation)
        if operation == "PlaceOrder":
            return self._place(call, login, fields)
        if operation in ("CancelOrder", "ModifyOrder"):
            return self._change(call, login, fields, operation)
        if operation in self._reads:
            return self._read(login, fields, operation)
        return html_answer("<h1>404 Not Found</h1>", 404)

    def _not_ok(self, error: NorenError, fault: Fault | None = None) -> Answer:
        body = {
            "stat": "Not_Ok",
            "request_time": views.stamp(self.exchange.now()),
            "emsg": error.emsg,
        }
        return json_answer(body, error.status, fault)

    # -- session -----------------------------------------------------------------------------
    def _login_page(self, call: Call) -> Answer:
        form = call.form()
        client_id = form.get("client_id", "")
        if not client_id:
            return html_answer("<h1>Invalid client_id</h1>", 400)
        if call.method != "POST":
            return html_answer(LOGIN_PAGE.format(client_id=escape(client_id, quote=True)))
        if not (form.get("user_id") and form.get("password")):
            return html_answer("<h1>Invalid user id or password</h1>", 403)
        sessions = self.exchange.sessions
        uid = form["user_id"].strip().upper()
        code = sessions.grant_code(ZEBU, client_id, uid, self.exchange.now())
        return redirect(with_query(sessions.redirect_of(ZEBU, client_id), {"code": code}))

    def _token(self, fields: Fields) -> Answer:
        now = self.exchange.now()
        fault = self.exchange.faults.strike("token", now, broker=ZEBU)
        if fault is not None and fault.prevents_acceptance:
            return self._not_ok(_fault_error(fault), fault)
        code, checksum = fields.get("code", ""), fields.get("checksum", "")
        result = self.exchange.sessions.exchange(ZEBU, code, checksum, now)
        if isinstance(result, str):
            raise NorenError(f"Invalid Input : Invalid {result}")
        if fields.get("uid", result.client_id).upper() != result.client_id:
            self.exchange.sessions.revoke(result.token)
            raise NorenError("Invalid Input : Invalid uid")
        return json_answer(views.session(result, now, self.exchange.manner.login), fault=fault)

    def _login(self, call: Call, fields: Fields, key: str, operation: str) -> Login:
        scheme, _, bearer = call.headers.get("Authorization", "").partition(" ")
        token = bearer if scheme == "Bearer" else key
        login = self.exchange.sessions.check(ZEBU, token, self.exchange.now())
        owners = {fields.get("uid", "").upper(), fields.get("actid", fields.get("uid", "")).upper()}
        if login is not None and owners == {login.client_id}:
            return login
        refusal = Refusal(Reason.SESSION_EXPIRED)
        if operation == "PlaceOrder":
            self.exchange.refuse(_raw_call(fields.get("uid", ""), fields, call), refusal)
        raise refusal_error(refusal)

    def _throttle(self, call: Call, login: Login, fields: Fields, operation: str) -> None:
        """One budget for every operation. Raises :class:`NorenError` when it is exhausted."""
        kind = KINDS.get(operation, READS)
        refusal = self.exchange.throttle(ZEBU, login.client_id, kind, call.received_at)
        if refusal is None:
            return
        if operation == "PlaceOrder":
            self.exchange.refuse(_raw_call(login.client_id, fields, call), refusal)
        raise refusal_error(refusal)

    # -- orders ------------------------------------------------------------------------------
    def _place(self, call: Call, login: Login, fields: Fields) -> Answer:
        try:
            place_call = _place_call(login, fields, call)
        except NorenError:
            raw = _raw_call(login.client_id, fields, call)
            self.exchange.refuse(raw, Refusal(Reason.INVALID))
            raise
        placed = self.exchange.place(place_call)
        fault = placed.fault
        if placed.order is not None and placed.refusal is None:
            body = {
                "request_time": views.stamp(self.exchange.now()),
                "stat": "Ok",
                "norenordno": placed.order.order_id,
            }
            return json_answer(body, fault=fault)
        error = refusal_error(placed.refusal or Refusal(Reason.OTHER))
        if fault is not None and fault.prevents_acceptance:
            return self._spoiled(fault, login, error)
        return self._not_ok(error, fault)

    def _change(self, call: Call, login: Login, fields: Fields, operation: str) -> Answer:
        fault = self._strike("cancel" if operation == "CancelOrder" else "modify", login)
        if fault is not None and fault.prevents_acceptance:
            return self._spoiled(fault, login, _fault_error(fault))
        order_id = _required(fields, "norenordno")
        if operation == "CancelOrder":
            placed = self.exchange.cancel(ZEBU, login.client_id, order_id, call.received_at)
        else:
            placed = self._modify(call, login, fields, order_id)
        refusal = placed.refusal
        if refusal is None:
            body = {
                "request_time": views.stamp(self.exchange.now()),
                "stat": "Ok",
                "result": order_id,
            }
            return json_answer(body, fault=fault)
        if refusal.reason is not Reason.OTHER:
            return self._not_ok(refusal_error(refusal), fault)
        verb = "Cancel" if operation == "CancelOrder" else "Modify"
        words = (
            f"Rejected : ORA:Order not found to {verb}"
            if placed.order is None
            else f"Rejected : SAF:order is not open to {verb.lower()}"
        )
        return self._not_ok(NorenError(words), fault)

    def _modify(self, call: Call, login: Login, fields: Fields, order_id: str) -> Placed:
        kind = fields.get("prctyp", "LMT")
        if kind not in ("LMT", "SL-LMT"):
            raise NorenError("Invalid Input : prctyp")
        trigger = _number(fields, "trgprc")
        if kind == "LMT" and "trgprc" in fields and trigger == 0:
            raise NorenError("Trigger price invalid - 0.00")
        return self.exchange.modify(
            ZEBU,
            login.client_id,
            order_id,
            call.received_at,
            quantity=_whole_number(fields, "qty") if "qty" in fields else None,
            price=_number(fields, "prc") if "prc" in fields else None,
            trigger_price=trigger or None,
            order_type=ORDER_TYPES[kind],
        )

    # -- faults ------------------------------------------------------------------------------
    def _strike(self, operation: str, login: Login) -> Fault | None:
        return self.exchange.faults.strike(
            operation, self.exchange.now(), broker=ZEBU, client_id=login.client_id
        )

    def _spoiled(self, fault: Fault, login: Login, error: NorenError) -> Answer:
        if fault.kind is Kind.EXPIRED_SESSION and fault.params.get("revoke", True):
            self.exchange.sessions.revoke(login.token)
        return self._not_ok(error, fault)

    # -- reads -------------------------------------------------------------------------------
    def _read(self, login: Login, fields: Fields, operation: str) -> Answer:
        kind, read = self._reads[operation]
        fault = self._strike(kind, login)
        if fault is not None and fault.prevents_acceptance:
            return self._spoiled(fault, login, _fault_error(fault))
        if fault is not None and fault.lag and operation == "PositionBook":
            return json_answer(self._positions(login, fault.lag), fault=fault)
        return json_answer(read(login, fields), fault=fault)

    def _account(self, login: Login) -> Account:
        _ = self.exchange.contracts  # rolls the day
        return self.exchange.book.account(ZEBU, login.client_id)

    def _order_book(self, login: Login, fields: Fields) -> object:
        orders = list(self._account(login).visible_orders(self.exchange.now()))
        if self.exchange.manner.history:
            return [row for o in reversed(orders) for row in views.history(o)] or _no_data()
        return [views.order(o) for o in reversed(orders)] or _no_data()

    def _order_history(self, login: Login, fields: Fields) -> object:
        order = self.exchange.book.find(ZEBU, login.client_id, _required(fields, "norenordno"))
        if order is None or order.visible_at > self.exchange.now():
            return _no_data()
        return views.history(order)

    def _trade_book(self, login: Login, fields: Fields) -> object:
        orders = self._account(login).visible_orders(self.exchange.now())
        return [row for o in orders for row in views.trades(o)] or _no_data()

    def _position_book(self, login: Login, fields: Fields) -> object:
        return self._positions(login)

    def _positions(self, login: Login, lag: float = 0.0) -> object:
        rows = self._account(login).holdings(self.exchange.now(), lag)
        return [views.position(self.exchange, login.client_id, row) for row in rows] or _no_data()

    def _client(self, login: Login, fields: Fields) -> object:
        return views.client(login, self.exchange.now())

    def _limits(self, login: Login, fields: Fields) -> object:
        return views.limits(self.exchange, self._account(login))

    def _quotes(self, login: Login, fields: Fields) -> object:
        exch, token = _required(fields, "exch"), _required(fields, "token")
        return views.quote(self.exchange, exch, token) or _no_data()

    def _search(self, login: Login, fields: Fields) -> object:
        words = unquote_plus(_required(fields, "stext")).upper().split()
        values = views.search(self.exchange, _required(fields, "exch"), words)
        return {"stat": "Ok", "values": values} if values else _no_data()

    def _security(self, login: Login, fields: Fields) -> object:
        token = _required(fields, "token")
        return views.security(self.exchange, _required(fields, "exch"), token) or _no_data()

    def _master(self, exchange: str) -> Answer:
        contracts = self.exchange.contracts
        day, archive = self._archives.get(exchange, (None, b""))
        if day != contracts.day:
            archive = contracts.noren_zip(exchange)
            self._archives[exchange] = (contracts.day, archive)
        return Answer(200, archive, "application/zip")


def _no_data() -> object:
    raise NorenError('Error Occurred : 5 "no data"', 400)


def _fault_error(fault: Fault) -> NorenError:
    if fault.kind is Kind.RATE_LIMIT:
        return refusal_error(too_fast())
    reasons = {Kind.EXPIRED_SESSION: Reason.SESSION_EXPIRED}
    facts = {"message": fault.params["message"]} if fault.kind is Kind.SAY else {}
    return refusal_error(Refusal(reasons.get(fault.kind, Reason.BROKER_DOWN), facts))


def _fields(body: bytes) -> tuple[Fields, str]:
    """The ``jData`` object, all values text, and the legacy ``jKey``. An ``&`` ends jData, quoted
    or not, as on the real server."""
    text = body.decode("utf-8", "replace")
    head, _, tail = text.partition("&")
    if not head.startswith("jData="):
        raise NorenError("Invalid Input : jData is Missing.")
    try:
        value = json.loads(head.removeprefix("jData="))
    except (ValueError, RecursionError):
        raise NorenError("Invalid Input : jData is not valid json object") from None
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise NorenError("Invalid Input : jData is not valid json object")
    key = tail.removeprefix("jKey=") if tail.startswith("jKey=") else ""
    return value, key


def _required(fields: Fields, name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise NorenError(f"Invalid Input : {name}")
    return value


def _choice(fields: Fields, name: str, words: dict[str, str]) -> str:
    value = fields.get(name, "")
    if value not in words:
        raise NorenError(f"Invalid Input : {name}")
    return words[value]


def _whole_number(fields: Fields, name: str) -> int:
    value = fields.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise NorenError(f"Invalid Input : {name}")
    return int(value)


def _number(fields: Fields, name: str) -> Decimal:
    """A price; an absent one and the SDK's text "None" are 0."""
    value = fields.get(name, "0")
    try:
        number = Decimal("0" if value == "None" else value)
    except InvalidOperation:
        raise NorenError(f"Invalid Input : {name}") from None
    if not number.is_finite() or not 0 <= number <= 10**7:
        raise NorenError(f"Invalid Input : {name}")
    return number


def _place_call(login: Login, fields: Fields, call: Call) -> PlaceCall:
    """The order the fields describe. Raises :class:`NorenError` naming the first bad one."""
    for name in ("uid", "actid", "exch", "tsym", "qty", "prc", "prd", "trantype", "prctyp", "ret"):
        _required(fields, name)
    if len(fields.get("remarks", "")) > 256:
        raise NorenError("Invalid Input : remarks")
    protection = fields.get("mkt_protection", "")
    return PlaceCall(
        broker=ZEBU,
        client_id=login.client_id,
        tag=fields.get("remarks", ""),
        exchange=fields["exch"],
        symbol=unquote_plus(fields["tsym"]),
        side=_choice(fields, "trantype", SIDES),
        quantity=_whole_number(fields, "qty"),
        product=_choice(fields, "prd", PRODUCTS),
        order_type=_choice(fields, "prctyp", ORDER_TYPES),
        price=_number(fields, "prc"),
        received_at=call.received_at,
        trigger_price=_number(fields, "trgprc"),
        validity=_choice(fields, "ret", {"DAY": "DAY", "IOC": "IOC"}),
        protection=_number(fields, "mkt_protection") if protection else None,
        app=login.api_key,
    )


def _raw_call(client_id: str, fields: Fields, call: Call) -> PlaceCall:
    """The known facts of a call that was refused before it was parsed."""
    quantity = fields.get("qty", "")
    return PlaceCall(
        broker=ZEBU,
        client_id=client_id,
        tag=fields.get("remarks", "")[:40],
        exchange=fields.get("exch", ""),
        symbol=fields.get("tsym", ""),
        side=SIDES.get(fields.get("trantype", ""), ""),
        quantity=int(quantity) if quantity.isascii() and quantity.isdigit() else 0,
        product=fields.get("prd", ""),
        order_type=fields.get("prctyp", ""),
        price=Decimal(0),
        received_at=call.received_at,
    )
