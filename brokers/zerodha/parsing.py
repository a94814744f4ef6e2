"""Reads Kite's answers. Nothing here raises on what came over the wire.

Kite wraps everything in ``{"status": "success", "data": ...}`` or ``{"status": "error", "message",
"error_type"}`` (https://kite.trade/docs/connect/v3/response-structure/). :func:`_refusal` decides
which errors prove that an order does not exist.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from brokers import wire_values
from brokers.base import (
    BookRead,
    BookState,
    BrokerInstrument,
    Cause,
    HttpResponse,
    LoginResult,
    NetPosition,
    OrderReport,
    Outcome,
    OwnerRead,
    PositionRead,
    Product,
    QuoteRead,
    QuoteRow,
    SendResult,
    Side,
)
from brokers.causes import cause_of, is_ambiguous
from brokers.orders import Listed, book_state, cause_in_book, latest, report
from brokers.price_bands import band_of, limits

#: Errors by which Kite says that it did not accept the request. NetworkException, DataException and
#: GeneralException are not among them: its order system may have the order all the same.
_REFUSALS: Final[Mapping[str, Cause]] = {
    "InputException": Cause.INVALID,
    "MarginException": Cause.MARGIN,
    "OrderException": Cause.OTHER,
    "HoldingException": Cause.OTHER,
    "TokenException": Cause.SESSION_EXPIRED,
    "PermissionException": Cause.APP_NOT_PERMITTED,
    "UserException": Cause.OTHER,
}
#: Types that determine the cause, whatever text is beside them ("Missing `api_key`" with a
#: TokenException is an expired session); for the others the text decides.
_TELLING: Final = frozenset({"MarginException", "TokenException", "PermissionException"})
_REFUSAL_STATUSES: Final = frozenset({400, 403})
_RATE_LIMITED: Final = 429
_OK: Final = 200
#: Kite's answer to the 26th change of an order, with a type that proves nothing by itself:
#: https://kite.trade/forum/discussion/9212
_CHANGED_TOO_OFTEN: Final = "maximum allowed order modifications exceeded"

_STATES: Final[Mapping[str, BookState]] = {
    "PUT ORDER REQ RECEIVED": BookState.SUBMITTED,
    "VALIDATION PENDING": BookState.SUBMITTED,
    "OPEN PENDING": BookState.SUBMITTED,
    "AMO REQ RECEIVED": BookState.SUBMITTED,
    "OPEN": BookState.OPEN,
    "UPDATE": BookState.OPEN,
    "MODIFIED": BookState.OPEN,
    "MODIFY VALIDATION PENDING": BookState.OPEN,
    "MODIFY PENDING": BookState.OPEN,
    "CANCEL PENDING": BookState.OPEN,
    "TRIGGER PENDING": BookState.TRIGGER_PENDING,
    "COMPLETE": BookState.FILLED,
    "CANCELLED": BookState.CANCELLED,
    "CANCELLED AMO": BookState.CANCELLED,
    "REJECTED": BookState.REJECTED,
}
_PRODUCTS: Final[Mapping[str, Product]] = {"MIS": Product.INTRADAY, "NRML": Product.CARRY}
_SIDES: Final[Mapping[str, Side]] = {"BUY": Side.BUY, "SELL": Side.SELL}
_TIME: Final = "%Y-%m-%d %H:%M:%S"
#: Exchanges that list indices: an index has a level, but nobody trades it.
_INDEX_EXCHANGES: Final = frozenset({"NSE", "BSE"})


# -- writes ----------------------------------------------------------------------------------
def parse_write(response: HttpResponse) -> SendResult:
    """Outcome of a place, change or cancel answer."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if response.status == _OK:
        return _acceptance(answer)
    if response.status == _RATE_LIMITED:
        return _rate_limit(answer)
    if answer is not None and response.status in _REFUSAL_STATUSES:
        refusal = _refusal(answer)
        if refusal is not None:
            return refusal
    return _unknown(answer, f"HTTP {response.status}")


def parse_change(response: HttpResponse) -> SendResult:
    """Outcome of a change answer. An order that was changed too often is no breach of a rate
    limit."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if answer is not None and response.status in (*_REFUSAL_STATUSES, _RATE_LIMITED):
        message = wire_values.clean_text(answer.get("message"))
        said = message.lower().strip().removesuffix(".")
        if answer.get("status") == "error" and said == _CHANGED_TOO_OFTEN:
            code = wire_values.clean_text(answer.get("error_type"), 60)
            return SendResult(Outcome.REFUSED, cause=Cause.OTHER, message=message, code=code)
    return parse_write(response)


def _acceptance(answer: Mapping[str, Any] | None) -> SendResult:
    data = answer.get("data") if answer is not None else None
    if answer is None or answer.get("status") != "success" or not isinstance(data, dict):
        return _unknown(answer, "HTTP 200 without a readable order")
    order_id = wire_values.read_order_id(data.get("order_id"))
    if not order_id:
        return _unknown(answer, "HTTP 200 without a usable order id")
    return SendResult(Outcome.ACCEPTED, broker_order_id=order_id)


def _rate_limit(answer: Mapping[str, Any] | None) -> SendResult:
    """Kite answers 429 before it looks at an order, whatever error type the answer carries.

    "Maximum allowed order requests exceeded." refers to the whole day: that one is final.
    """
    if answer is not None and (answer.get("status") == "success" or answer.get("data")):
        return _unknown(answer, "HTTP 429 with data")
    message = wire_values.clean_text((answer or {}).get("message")) or "Too many requests"
    code = wire_values.clean_text((answer or {}).get("error_type"), 60) or "429"
    final = cause_of(message) is Cause.DAILY_LIMIT
    return SendResult(
        Outcome.REFUSED,
        cause=Cause.DAILY_LIMIT if final else Cause.RATE_LIMIT,
        message=message,
        code=code,
        retryable=not final,
    )


def _refusal(answer: Mapping[str, Any]) -> SendResult | None:
    """The documented refusal in ``answer``, or None if it proves nothing.

    Zerodha's own timeouts have come back as 400 with NetworkException, and as other types with a
    text that says so (https://kite.trade/forum/discussion/comment/35732): the text has priority
    over the type. Its error type for an unregistered address has varied, so there the text decides
    as well.
    """
    if answer.get("status") != "error" or answer.get("data"):
        return None
    message = answer.get("message")
    if not isinstance(message, str) or is_ambiguous(message):
        return None
    text = wire_values.clean_text(message)
    code = wire_values.clean_text(answer.get("error_type"), 60)
    if code in _REFUSALS:
        cause = _cause(code, text)
    elif code != "NetworkException" and cause_of(text) is Cause.IP_NOT_REGISTERED:
        cause = Cause.IP_NOT_REGISTERED
    else:
        return None
    band = band_of(text) if cause is Cause.PRICE_BAND else None
    return SendResult(Outcome.REFUSED, cause=cause, message=text, code=code, band=band)


def _cause(code: str, text: str) -> Cause:
    """The cause of a documented refusal: its type if that determines it, otherwise its text."""
    said = cause_of(text, _REFUSALS[code])
    if code in _TELLING and said is not Cause.IP_NOT_REGISTERED:
        return _REFUSALS[code]
    return said


def _unknown(answer: Mapping[str, Any] | None, what: str) -> SendResult:
    message = wire_values.clean_text((answer or {}).get("message"))
    return SendResult(
        Outcome.UNKNOWN,
        cause=cause_of(message, Cause.BROKER_DOWN),
        message=message or what,
        code=wire_values.clean_text((answer or {}).get("error_type"), 60),
    )


# -- login -----------------------------------------------------------------------------------
def parse_token(response: HttpResponse) -> LoginResult:
    """Access token of a session answer; a documented error is a refusal, everything else
    unknown."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if answer is None:
        return LoginResult(unknown=True, error=f"HTTP {response.status}")
    data = answer.get("data")
    if response.status == _OK and answer.get("status") == "success" and isinstance(data, dict):
        token = wire_values.read_token(data.get("access_token"))
        client_id = wire_values.clean_text(data.get("user_id"), 40)
        if token and client_id:
            return LoginResult(access_token=token, client_id=client_id)
    message = wire_values.clean_text(answer.get("message"))
    known = wire_values.clean_text(answer.get("error_type"), 60) in _REFUSALS
    if response.status in _REFUSAL_STATUSES and known and message and not is_ambiguous(message):
        return LoginResult(error=message)
    return LoginResult(unknown=True, error=message or f"HTTP {response.status}")


def parse_owner(response: HttpResponse) -> OwnerRead:
    """The ``user_id`` of a profile: the owner of the session."""
    data = _data(response)
    client_id = wire_values.clean_text(data.get("user_id"), 40) if isinstance(data, dict) else ""
    if client_id:
        return OwnerRead(client_id=client_id)
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES) or {}
    message = wire_values.clean_text(answer.get("message"))
    known = wire_values.clean_text(answer.get("error_type"), 60) in _REFUSALS
    if response.status in _REFUSAL_STATUSES and known and message and not is_ambiguous(message):
        return OwnerRead(error=message)
    return OwnerRead(unknown=True, error=message or f"HTTP {response.status}")


# -- reads -----------------------------------------------------------------------------------
def _failed(response: HttpResponse) -> tuple[Cause, str]:
    """Why a read failed, for people and for the session state; it never counts as "nothing"."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES) or {}
    message = wire_values.clean_text(answer.get("message"))
    code = wire_values.clean_text(answer.get("error_type"), 60)
    if response.status == _RATE_LIMITED:
        return Cause.RATE_LIMIT, message or "Too many requests"
    if response.status in _REFUSAL_STATUSES and code in _REFUSALS:
        return _cause(code, message), message
    return cause_of(message, Cause.BROKER_DOWN), message or f"HTTP {response.status}"


def _data(response: HttpResponse) -> Any:
    """The ``data`` of a successful answer, or None."""
    if response.status != _OK:
        return None
    answer = wire_values.read_object(response.body)
    if answer is None or answer.get("status") != "success":
        return None
    return answer.get("data")


def parse_order_book(response: HttpResponse) -> BookRead:
    """The whole book or nothing: a row that cannot be identified makes the read a failure."""
    data = _data(response)
    if not isinstance(data, list):
        cause, message = _failed(response)
        return BookRead(ok=False, cause=cause, message=message)
    reports = []
    for row in data:
        order_id = wire_values.read_order_id(row.get("order_id")) if isinstance(row, dict) else ""
        if not order_id:
            return BookRead(ok=False, cause=Cause.BROKER_DOWN, message="Unreadable order book row")
        changed = _time(row.get("exchange_update_timestamp")) or _time(row.get("order_timestamp"))
        reports.append(Listed(_report(order_id, row), changed))
    return BookRead(ok=True, orders=latest(reports, newest_first=False))


def read_order(row: Mapping[str, Any]) -> OrderReport | None:
    """One order of an update: a row of the book; None if it cannot be identified."""
    order_id = wire_values.read_order_id(row.get("order_id"))
    return _report(order_id, row) if order_id else None


def _report(order_id: str, row: Mapping[str, Any]) -> OrderReport:
    state = book_state(wire_values.clean_text(row.get("status"), 60), _STATES)
    message = wire_values.first(row, wire_values.clean_text, "status_message", "status_message_raw")
    raw = wire_values.clean_text(row.get("status_message_raw"))
    average = row.get("average_price")
    return report(
        broker_order_id=order_id,
        tag=_tag(row),
        state=state,
        quantity=wire_values.read_int(row.get("quantity")),
        filled=wire_values.read_int(row.get("filled_quantity")),
        average=Decimal(0) if average is None else wire_values.read_decimal(average),
        symbol=wire_values.clean_text(row.get("tradingsymbol"), 60),
        exchange=wire_values.clean_text(row.get("exchange"), 10),
        side=_SIDES.get(wire_values.clean_text(row.get("transaction_type"), 10)),
        product=_PRODUCTS.get(wire_values.clean_text(row.get("product"), 10)),
        price=wire_values.read_price(row.get("price")),
        message=message,
        cause=cause_in_book(state, message, raw),
    )


def _tag(row: Mapping[str, Any]) -> str:
    """The tag that we sent: ``tag``, otherwise the first of ``tags`` that Kite did not add
    itself."""
    tag = wire_values.clean_text(row.get("tag"), 40)
    tags = row.get("tags")
    if tag or not isinstance(tags, list):
        return tag
    texts = (wire_values.clean_text(item, 40) for item in tags[:20])
    own = (text for text in texts if text and ":" not in text and text not in ("mktp", "autoslice"))
    return next(own, "")


def parse_positions(response: HttpResponse) -> PositionRead:
    """Net positions; one unreadable row fails the read, because it may be the open one."""
    data = _data(response)
    net = data.get("net") if isinstance(data, dict) else None
    if not isinstance(net, list):
        cause, message = _failed(response)
        return PositionRead(ok=False, cause=cause, message=message)
    positions = []
    for row in net:
        quantity = wire_values.read_int(row.get("quantity")) if isinstance(row, dict) else None
        symbol = (
            wire_values.clean_text(row.get("tradingsymbol"), 60) if isinstance(row, dict) else ""
        )
        if quantity is None or not symbol:
            return PositionRead(
                ok=False, cause=Cause.BROKER_DOWN, message="Unreadable position row"
            )
        positions.append(
            NetPosition(
                exchange=wire_values.clean_text(row.get("exchange"), 10),
                symbol=symbol,
                product=_PRODUCTS.get(wire_values.clean_text(row.get("product"), 10)),
                quantity=quantity,
                last_price=wire_values.read_price(row.get("last_price")),
            )
        )
    return PositionRead(ok=True, positions=tuple(positions))


# -- quotes ----------------------------------------------------------------------------------
def quote_key(instrument: BrokerInstrument) -> str:
    """The name of an instrument in Kite's quote calls and answers."""
    return f"{instrument.exchange}:{instrument.symbol}"


def parse_quotes(
    response: HttpResponse, keys: Sequence[str], instruments: Mapping[str, BrokerInstrument]
) -> QuoteRead:
    """Quotes by our keys; missing or unreadable ones are omitted (Kite omits unknown names)."""
    data = _data(response)
    if not isinstance(data, dict):
        cause, message = _failed(response)
        return QuoteRead(ok=False, cause=cause, message=message)
    rows = ((key, data.get(quote_key(instruments[key]))) for key in keys)
    quotes = (_quote(key, row, instruments[key]) for key, row in rows if isinstance(row, dict))
    return QuoteRead(ok=True, quotes={quote.key: quote for quote in quotes if quote is not None})


def _quote(key: str, row: Mapping[str, Any], instrument: BrokerInstrument) -> QuoteRow | None:
    """The quote with its two ages: ``timestamp`` is that of the exchange's quote packet."""
    last = wire_values.read_price(row.get("last_price"))
    traded_at = _time(row.get("last_trade_time"))
    at = _time(row.get("timestamp")) or traded_at
    if last is None or at is None:
        return None
    depth = row.get("depth")
    sides = depth if isinstance(depth, dict) else {}
    return QuoteRow(
        key=key,
        last_price=last,
        bid=_best(sides.get("buy")),
        ask=_best(sides.get("sell")),
        at=at,
        traded_at=at if instrument.exchange in _INDEX_EXCHANGES else traded_at,
        band=limits(row.get("lower_circuit_limit"), row.get("upper_circuit_limit")),
    )


def _best(levels: object) -> Decimal | None:
    top = levels[0] if isinstance(levels, list) and levels else None
    return wire_values.read_price(top.get("price")) if isinstance(top, dict) else None


def _time(value: object) -> dt.datetime | None:
    return wire_values.read_ist(value, _TIME)
