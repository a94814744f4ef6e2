"""Readers of hostile bytes shared by the adapters: none of them raises on what a broker sent.

A reader returns a value that it is sure of, or ``None``. Numbers are bounded, so that
``1e999999999`` or a mile of digits costs nothing, and text is stripped of control characters before
anybody stores it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from quantleap.core.identifiers import ascii_upper

#: Larger than any legitimate answer (a day's order book of 3,000 orders is ~3 MB).
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
#: A place, cancel or token answer is one small object.
MAX_ANSWER_BYTES: Final = 64 * 1024
#: Values of a document, counted by its commas. A day's order book of 3,000 orders has 135,000.
#: Parsing JSON holds the interpreter from beginning to end, and all orders wait meanwhile: 8 MB of
#: ``[0,0,0,...]`` take longer than an exit may.
MAX_VALUES: Final = 150_000
#: Digits before the decimal point that a quantity or price may have.
MAX_MAGNITUDE: Final = 12

#: Rupees per unit. No option or index costs more, and none of our columns could store the stop of
#: one that did (a hundredfold, marketplace.rules): a larger figure is no price.
MAX_PRICE: Final = Decimal(500_000)
#: Units of one order or position.
MAX_UNITS: Final = 2**31 - 1

IST: Final = dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(\.\d{1,12})?")
_ORDER_ID: Final = re.compile(r"[0-9A-Za-z-]{1,40}")
_TOKEN: Final = re.compile(r"[0-9A-Za-z._~+/=:|-]{1,4096}")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"), 1
    )
}
_DAY_MONTH_YEAR: Final = re.compile(r"(\d{1,2})-([A-Z]{3})-(\d{4})")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def read_json(body: bytes, limit: int = MAX_BODY_BYTES) -> Any:
    """The JSON value in ``body`` (fractions as ``Decimal``), or None if it is unusable."""
    if not body or len(body) > limit:
        return None
    if len(body) > MAX_VALUES and body.count(b",") >= MAX_VALUES:
        return None
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=_bounded_fraction, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return None


def _bounded_fraction(text: str) -> Decimal:
    """A JSON fraction; one beyond any price makes the whole document unusable."""
    value = Decimal(text)
    if value and abs(value.adjusted()) > MAX_MAGNITUDE:
        raise ValueError("number out of range")
    return value


def read_object(body: bytes, limit: int = MAX_BODY_BYTES) -> Mapping[str, Any] | None:
    """The JSON object in ``body``, or None."""
    value = read_json(body, limit)
    return value if isinstance(value, dict) else None


def clean_text(value: object, limit: int = 300) -> str:
    """One line of printable text from ``value`` if it is a string, otherwise ``""``."""
    if not isinstance(value, str):
        return ""
    # Lone surrogates survive JSON but not a database; the text is cut first so that a huge one is
    # not scanned to its end.
    text = value[: limit * 4].encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(" ", text).strip()[:limit]


def read_decimal(value: object) -> Decimal | None:
    """A finite, bounded number from a JSON number or a plain decimal text, otherwise None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < 10**MAX_MAGNITUDE else None
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text) or not text.isascii():
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            return None
    if not isinstance(value, Decimal) or not value.is_finite():
        return None
    if value and abs(value.adjusted()) > MAX_MAGNITUDE:
        return None
    return value


def read_int(value: object) -> int | None:
    """A whole number from a JSON number or text, otherwise None (fractions are not whole)."""
    number = read_decimal(value)
    if number is None or number != number.to_integral_value():
        return None
    return int(number)


def read_price(value: object) -> Decimal | None:
    """A price above zero in rupees, at most MAX_PRICE, otherwise None: 0 means that nobody
    quotes."""
    number = read_decimal(value)
    return number if number is not None and 0 < number <= MAX_PRICE else None


def read_order_id(value: object) -> str:
    """A broker's order id as later calls use it, or ``""`` if it is not well formed."""
    return value if isinstance(value, str) and _ORDER_ID.fullmatch(value) else ""


def read_token(value: object) -> str:
    """An access token that is safe inside one HTTP header, or ``""``."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""


def read_ist(value: object, layout: str) -> dt.datetime | None:
    """The UTC time of a naive IST text in ``strptime`` layout, otherwise None."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        return dt.datetime.strptime(value, layout).replace(tzinfo=IST).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def read_day(text: str) -> dt.date | None:
    """A date written ``2026-08-25`` or ``25-AUG-2026`` (any case), otherwise None."""
    try:
        match = _DAY_MONTH_YEAR.fullmatch(ascii_upper(text.strip()))
        if match:
            day, month, year = match.groups()
            return dt.date(int(year), _MONTHS[month], int(day))
        return dt.date.fromisoformat(text.strip())
    except (ValueError, KeyError):
        return None


def next_ist_hour(now: dt.datetime, hour: int) -> dt.datetime:
    """The first ``hour``:00 IST strictly after ``now``, in UTC: when a day's token expires."""
    local = now.astimezone(IST)
    at = local.replace(hour=hour, minute=0, second=0, microsecond=0)
    if at <= local:
        at += dt.timedelta(days=1)
    return at.astimezone(dt.UTC)


def first(mapping: Mapping[str, Any], reader: Callable[[object], str], *keys: str) -> str:
    """The first non-empty text among ``keys`` of ``mapping``."""
    return next((text for key in keys if (text := reader(mapping.get(key)))), "")
