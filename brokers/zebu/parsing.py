"""Reads Noren's answers. Nothing here raises on what came over the wire.

Noren answers an object with ``"stat": "Ok"``, a bare list of such objects, or ``{"stat": "Not_Ok",
"emsg"}``, every value a string. An error comes as HTTP 200 or 400, so the body is read first. An
empty list is an *error* there, and only one documented sentence (:data:`NO_DATA`) means it
(https://github.com/Shoonya-Dev/ShoonyaApi-py, sample failure responses). HTTP 401 and 403 without a
text of Noren's own mean: log in again (the same documents).
"""

from __future__ import annotations

import datetime as dt
import re
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
from quantleap.core.identifiers import ascii_upper

_OK: Final = 200
_RATE_LIMITED: Final = 429
#: Noren's answer in place of an empty list. Its order system also says "no database connection" or
#: "No Data received from OMS": those mean that the list could not be read.
NO_DATA: Final = 'Error Occurred : 5 "no data"'
#: Noren refuses with 200; front ends of it have been observed to use these with the same body.
_REFUSAL_STATUSES: Final = frozenset({200, 400, 401, 403})
#: With these a list or "no data" may come; an answer with a server error proves nothing.
_READ_STATUSES: Final = frozenset({200, 400})
_LOG_IN_AGAIN: Final = frozenset({401, 403})
#: The whole sentence by which Noren refuses a call that came too fast; it comes with HTTP 400.
#: (Observed by https://github.com/marketcalls/openalgo, which reads the numbers from it.)
_TOO_FAST: Final = re.compile(
    r"(?:Invalid Input\s*:\s*)?Order Rec(?:ie|ei)ved \d+ in a current (?:second|minute) "
    r"exceeds Limit \d+ for user",
    re.IGNORECASE,
)

_STATES: Final[Mapping[str, BookState]] = {
    "PENDING": BookState.SUBMITTED,
    "NEW": BookState.SUBMITTED,
    "OPEN": BookState.OPEN,
    "REPLACED": BookState.OPEN,
    "TRIGGER PENDING": BookState.TRIGGER_PENDING,
    "COMPLETE": BookState.FILLED,
    "CANCELED": BookState.CANCELLED,
    "CANCELLED": BookState.CANCELLED,
    "REJECTED": BookState.REJECTED,
    "REJECT": BookState.REJECTED,
}
#: Reports of a refused change or cancel: the order itself continues, whatever status is beside them
#: (https://github.com/Shoonya-Dev/ShoonyaApi-py, Order States and Report Types).
_NOT_THE_ORDER: Final = frozenset({"REPLACEREJECTED", "CANCELREJECTED"})
_PRODUCTS: Final[Mapping[str, Product]] = {"I": Product.INTRADAY, "M": Product.CARRY}
_SIDES: Final[Mapping[str, Side]] = {"B": Side.BUY, "S": Side.SELL}
_TIME: Final = "%H:%M:%S %d-%m-%Y"
_EXCHANGE_TIME: Final = "%d-%m-%Y %H:%M:%S"
#: Exchanges that list indices: an index has a level, but nobody trades it.
_INDEX_EXCHANGES: Final = frozenset({"NSE", "BSE"})
#: Below this, a token's life in seconds; from here on, the Unix second of its end.
_LONGEST_LIFE: Final = 10_000_000
#: Exchange times in Unix seconds outside these bounds are invalid (2001 and 2286).
_EPOCH: Final = (1_000_000_000, 9_999_999_999)


def _emsg(answer: Mapping[str, Any] | None) -> str:
    """Noren's text in a ``Not_Ok`` object, otherwise ``""``."""
    if answer is None or answer.get("stat") != "Not_Ok":
        return ""
    return wire_values.clean_text(answer.get("emsg"))


# -- writes ----------------------------------------------------------------------------------
def parse_write(response: HttpResponse, id_field: str) -> SendResult:
    """Outcome of a place (``norenordno``), change or cancel (``result``) answer."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if answer is not None and answer.get("stat") == "Ok" and response.status == _OK:
        order_id = wire_values.read_order_id(answer.get(id_field))
        if order_id and "emsg" not in answer:
            return SendResult(Outcome.ACCEPTED, broker_order_id=order_id)
    message = _emsg(answer)
    named = answer is not None and bool(answer.get(id_field))
    if _is_too_fast(response, message) and not named and (answer or {}).get("stat") != "Ok":
        final = cause_of(message) is Cause.DAILY_LIMIT
        return SendResult(
            Outcome.REFUSED,
            cause=Cause.DAILY_LIMIT if final else Cause.RATE_LIMIT,
            message=message or "Too many requests",
            retryable=not final,
        )
    raw = answer.get("emsg") if answer is not None else None
    sure = isinstance(raw, str) and not is_ambiguous(raw) and not named
    if message and sure and response.status in _REFUSAL_STATUSES:
        cause = cause_of(message)
        band = band_of(message) if cause is Cause.PRICE_BAND else None
        return SendResult(Outcome.REFUSED, cause=cause, message=message, band=band)
    if _is_turned_away(response):
        return SendResult(
            Outcome.REFUSED, cause=Cause.SESSION_EXPIRED, message=_turned_away(response)
        )
    return SendResult(
        Outcome.UNKNOWN,
        cause=cause_of(message, Cause.BROKER_DOWN),
        message=message or f"HTTP {response.status} without a readable answer",
    )


def _is_too_fast(response: HttpResponse, message: str) -> bool:
    """Whether this is HTTP 429, or the documented sentence with its own status."""
    if response.status == _RATE_LIMITED:
        return True
    return response.status == 400 and _TOO_FAST.fullmatch(" ".join(message.split())) is not None


def _is_turned_away(response: HttpResponse) -> bool:
    """Whether this is HTTP 401 or 403 with an empty body or a page, from the gateway and not the
    order system.

    A truncated answer, or one that names anything, is no page: it might have been an order.
    """
    body = response.body.strip()
    return response.status in _LOG_IN_AGAIN and (not body or body.startswith(b"<"))


def _turned_away(response: HttpResponse) -> str:
    return f"HTTP {response.status}: the session is over, log in again"


# -- login -----------------------------------------------------------------------------------
def parse_token(response: HttpResponse) -> LoginResult:
    """Access token of a ``GenAcsTok`` answer; ``Not_Ok`` is a refusal, everything else unknown.

    The documented sample names no owner; the official SDK reads one (``actid``, ``USERID``).
    """
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if answer is not None and answer.get("stat") == "Ok" and response.status == _OK:
        token = wire_values.first(answer, wire_values.read_token, "access_token", "susertoken")
        if token and "emsg" not in answer:
            lives_for, ends_at = _life(answer.get("expires_in"))
            return LoginResult(
                access_token=token,
                client_id=wire_values.first(answer, _client_id, "actid", "USERID"),
                lives_for=lives_for,
                ends_at=ends_at,
            )
    message = _emsg(answer)
    if message and response.status in _REFUSAL_STATUSES and not is_ambiguous(message):
        return LoginResult(error=message)
    return LoginResult(unknown=True, error=message or f"HTTP {response.status}")


def _client_id(value: object) -> str:
    return wire_values.clean_text(value, 40)


def _life(expires_in: object) -> tuple[dt.timedelta | None, dt.datetime | None]:
    """``expires_in`` as a duration ("3600") or a time ("1756979040"): Noren sends both."""
    seconds = wire_values.read_int(expires_in)
    if seconds is None or seconds <= 0:
        return None, None
    if seconds < _LONGEST_LIFE:
        return dt.timedelta(seconds=seconds), None
    return None, _epoch(seconds)


def parse_owner(response: HttpResponse) -> OwnerRead:
    """The account in a ``ClientDetails`` answer (``actid``): the owner of the session."""
    answer = wire_values.read_object(response.body)
    if answer is not None and answer.get("stat") == "Ok" and response.status == _OK:
        client_id = _client_id(answer.get("actid"))
        if client_id:
            return OwnerRead(client_id=client_id)
    message = _emsg(answer)
    if message and response.status in _REFUSAL_STATUSES and not is_ambiguous(message):
        return OwnerRead(error=message)
    if _is_turned_away(response):
        return OwnerRead(error=_turned_away(response))
    return OwnerRead(unknown=True, error=message or f"HTTP {response.status}")


# -- reads -----------------------------------------------------------------------------------
def _rows(response: HttpResponse) -> Sequence[Mapping[str, Any]] | None:
    """The objects of a list answer, ``()`` for :data:`NO_DATA`, None for a failed read.

    A bare empty list is documented nowhere, so it is a failed read as well.
    """
    if response.status not in _READ_STATUSES:
        return None
    value = wire_values.read_json(response.body)
    if isinstance(value, dict):
        return () if _is_no_data(value) else None
    if not isinstance(value, list) or not value or response.status != _OK:
        return None
    rows = [row for row in value if isinstance(row, dict) and row.get("stat", "Ok") == "Ok"]
    return rows if len(rows) == len(value) else None


def _is_no_data(answer: Mapping[str, Any]) -> bool:
    """Whether this is exactly the documented answer for an empty list, ignoring blanks."""
    said = answer.get("emsg")
    return (
        answer.get("stat") == "Not_Ok"
        and answer.keys() <= {"stat", "emsg", "request_time"}
        and isinstance(said, str)
        and " ".join(said.split()) == NO_DATA
    )


def _failed(response: HttpResponse) -> tuple[Cause, str]:
    message = _emsg(wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES))
    if _is_too_fast(response, message):
        return Cause.RATE_LIMIT, message or "Too many requests"
    if response.status in _LOG_IN_AGAIN and not message:
        return Cause.SESSION_EXPIRED, _turned_away(response)
    default = Cause.SESSION_EXPIRED if response.status in _LOG_IN_AGAIN else Cause.BROKER_DOWN
    return cause_of(message, default), message or f"HTTP {response.status}"


def parse_order_book(response: HttpResponse) -> BookRead:
    """The whole book or nothing: a row that cannot be identified makes the read a failure."""
    rows = _rows(response)
    if rows is None:
        cause, message = _failed(response)
        return BookRead(ok=False, cause=cause, message=message)
    reports = []
    for row in rows:
        order_id = wire_values.read_order_id(row.get("norenordno"))
        if not order_id:
            return BookRead(ok=False, cause=Cause.BROKER_DOWN, message="Unreadable order book row")
        changed = wire_values.read_ist(row.get("norentm"), _TIME)
        changed = changed or wire_values.read_ist(row.get("exch_tm"), _EXCHANGE_TIME)
        reports.append(Listed(_report(order_id, row), changed))
    return BookRead(ok=True, orders=latest(reports, newest_first=True))


def read_order(row: Mapping[str, Any]) -> OrderReport | None:
    """One order of an update: a row of the book; None if it cannot be identified."""
    order_id = wire_values.read_order_id(row.get("norenordno"))
    return _report(order_id, row) if order_id else None


def _report_type(value: object) -> str:
    return ascii_upper(wire_values.clean_text(value, 40))


def _report(order_id: str, row: Mapping[str, Any]) -> OrderReport:
    state = book_state(wire_values.clean_text(row.get("status"), 60), _STATES)
    report_type = wire_values.first(row, _report_type, "reporttype", "rpt")
    if state is BookState.REJECTED and report_type in _NOT_THE_ORDER:
        # Believing it would end an order that rests, and another one would be sent in addition.
        state = BookState.OTHER
    message = wire_values.clean_text(row.get("rejreason"))
    # Noren omits both until something has filled.
    filled = row.get("fillshares")
    average = row.get("avgprc")
    return report(
        broker_order_id=order_id,
        tag=wire_values.clean_text(row.get("remarks"), 40),
        state=state,
        quantity=wire_values.read_int(row.get("qty")),
        filled=0 if filled in (None, "") else wire_values.read_int(filled),
        average=Decimal(0) if average in (None, "") else wire_values.read_decimal(average),
        symbol=wire_values.clean_text(row.get("tsym"), 60),
        exchange=wire_values.clean_text(row.get("exch"), 10),
        side=_SIDES.get(wire_values.clean_text(row.get("trantype"), 10)),
        product=_PRODUCTS.get(wire_values.clean_text(row.get("prd"), 10)),
        price=wire_values.read_price(row.get("prc")),
        message=message,
        cause=cause_in_book(state, message),
    )


def parse_positions(response: HttpResponse) -> PositionRead:
    """Net positions; one unreadable row fails the read, because it may be the open one."""
    rows = _rows(response)
    if rows is None:
        cause, message = _failed(response)
        return PositionRead(ok=False, cause=cause, message=message)
    positions = []
    for row in rows:
        quantity = wire_values.read_int(row.get("netqty"))
        symbol = wire_values.clean_text(row.get("tsym"), 60)
        if quantity is None or not symbol:
            return PositionRead(
                ok=False, cause=Cause.BROKER_DOWN, message="Unreadable position row"
            )
        positions.append(
            NetPosition(
                exchange=wire_values.clean_text(row.get("exch"), 10),
                symbol=symbol,
                product=_PRODUCTS.get(wire_values.clean_text(row.get("prd"), 10)),
                quantity=quantity,
                last_price=wire_values.read_price(row.get("lp")),
            )
        )
    return PositionRead(ok=True, positions=tuple(positions))


# -- quotes ----------------------------------------------------------------------------------
def parse_quotes(
    response: HttpResponse, keys: Sequence[str], instruments: Mapping[str, BrokerInstrument]
) -> QuoteRead:
    """The one quote of a ``GetQuotes`` answer, checked to be the requested instrument."""
    answer = wire_values.read_object(response.body, wire_values.MAX_ANSWER_BYTES)
    if answer is None or answer.get("stat") != "Ok" or response.status != _OK or len(keys) != 1:
        cause, message = _failed(response)
        return QuoteRead(ok=False, cause=cause, message=message)
    key = keys[0]
    quote = _quote(key, answer, instruments[key]) if _is_of(answer, instruments[key]) else None
    return QuoteRead(ok=True, quotes={} if quote is None else {key: quote})


def _is_of(answer: Mapping[str, Any], instrument: BrokerInstrument) -> bool:
    return bool(answer.get("token", instrument.token) == instrument.token)


def _quote(key: str, answer: Mapping[str, Any], instrument: BrokerInstrument) -> QuoteRow | None:
    """The quote with its two ages; None if one is missing, because its age is then unknown.

    ``request_time`` is when the server answered: as recent for a price of last Friday as for any.
    """
    last = wire_values.read_price(answer.get("lp"))
    traded_at = _traded_at(answer)
    at = _epoch(answer.get("lut")) or traded_at
    if last is None or at is None:
        return None
    return QuoteRow(
        key=key,
        last_price=last,
        bid=wire_values.read_price(answer.get("bp1")),
        ask=wire_values.read_price(answer.get("sp1")),
        at=at,
        traded_at=at if instrument.exchange in _INDEX_EXCHANGES else traded_at,
        band=limits(answer.get("lc"), answer.get("uc")),
    )


def _traded_at(answer: Mapping[str, Any]) -> dt.datetime | None:
    """The time of the last trade: ``ltt``, a time of day, on the day ``ltd``.

    For an instrument that has not traded today, Noren gives the close as ``lp``, with ``ltt``
    00:00:00 and a volume of 0. Without ``ltd`` the time is today's only if today's volume shows a
    trade.
    """
    volume = wire_values.read_decimal(answer.get("v"))
    time = wire_values.clean_text(answer.get("ltt"), 20)
    if not time or time == "00:00:00" or (volume is not None and volume <= 0):
        return None
    if answer.get("ltd") not in (None, ""):
        return wire_values.read_ist(
            f"{wire_values.clean_text(answer.get('ltd'), 20)} {time}", _EXCHANGE_TIME
        )
    if volume is None:
        return None
    day = wire_values.clean_text(answer.get("request_time"), 40).rpartition(" ")[2]
    return wire_values.read_ist(f"{day} {time}", _EXCHANGE_TIME)


def _epoch(value: object) -> dt.datetime | None:
    """The exchange's last-update time, which some Noren versions send as Unix seconds."""
    seconds = wire_values.read_int(value)
    if seconds is None or not _EPOCH[0] <= seconds <= _EPOCH[1]:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
