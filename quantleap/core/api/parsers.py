"""JSON input and output: exact decimals, objects only, limited size."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.utils.mediatypes import media_type_matches

from quantleap.core.money import json_number

MAX_DEPTH: Final = 8


def check_body(request: Request) -> None:
    """Refuse with 413 or 415 from the headers alone, before anything is looked up or parsed.

    A body without a declared length would count as empty, and its content would be ignored
    silently.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in request.META and length == "0":
        raise ValidationError({"Content-Length": "Required; a chunked body is not read."})
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    if limit and length.isdecimal() and int(length) > limit:
        raise RequestDataTooBig("request body too large")
    readable = any(
        media_type_matches(parser.media_type or "", request.content_type)
        for parser in request.parsers or ()
    )
    if length != "0" and not readable:
        raise UnsupportedMediaType(request.content_type)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_text(value: str) -> bool:
    """Whether a text can be stored and returned: half of a surrogate pair is no character."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse two members with one name, because it is undefined which of them counts."""
    members = dict(pairs)
    for name in members:
        if not _is_text(name):
            raise ValueError("a name is not text")
    if len(members) != len(pairs):
        twice = sorted(
            name for name, times in Counter(name for name, _ in pairs).items() if times > 1
        )
        raise ValidationError(dict.fromkeys(twice, "Given more than once."))
    return members


def _check(value: Any, path: str = "", level: int = 0) -> None:
    """Refuse values that are nested too deeply, and invalid text, naming its place."""
    if level > MAX_DEPTH:
        raise ParseError("The body is nested too deeply.")
    if isinstance(value, dict):
        for name, item in value.items():
            _check(item, f"{path}.{name}" if path else name, level + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{path}.{index}", level + 1)
    elif isinstance(value, str) and not _is_text(value):
        raise ValidationError({path: "Not valid Unicode text."})


class StrictJSONParser(BaseParser):
    """Parser for a UTF-8 JSON object; fractions become Decimal, NaN and Infinity are refused."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read the body. ParseError (400) if it is not a JSON object, 413 if it is too large."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw = stream.read(limit + 1) if limit else stream.read()
        if limit and len(raw) > limit:
            raise RequestDataTooBig("request body too large")
        try:
            text = codecs.decode(raw, "utf-8")
            data = json.loads(
                text,
                parse_float=Decimal,
                parse_constant=_refuse_constant,
                object_pairs_hook=_unique_pairs,
            )
        except (ValueError, ArithmeticError, RecursionError) as error:  # arithmetic: 1e99999999999
            raise ParseError("The body is not valid JSON.") from error
        if not isinstance(data, dict):
            raise ParseError("The body must be a JSON object.")
        _check(data)
        return data


class NumberEncoder(JSONEncoder):
    """Encodes decimals as JSON numbers; money has at most two decimals.

    The detour over the shortest float is exact for every amount below 90 lakh crore rupees: Python
    prints the shortest text that reads back to the same double, which has exactly our decimals.
    """

    def default(self, obj: Any) -> Any:
        """A Decimal as a number; everything else as DRF does."""
        if isinstance(obj, Decimal):
            return json_number(obj)
        return super().default(obj)


class NumberJSONRenderer(JSONRenderer):
    """DRF's renderer with :class:`NumberEncoder`."""

    encoder_class = NumberEncoder
