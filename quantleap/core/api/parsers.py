"""JSON in, JSON out: exact decimals, objects only, bounded size."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

MAX_DEPTH = 8


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two members of one name: which one counts is anybody's guess, so neither does."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate member")
    return found


def _depth(value: Any, level: int = 0) -> int:
    if level > MAX_DEPTH:
        return level
    if isinstance(value, dict):
        return max((_depth(item, level + 1) for item in value.values()), default=level)
    if isinstance(value, list):
        return max((_depth(item, level + 1) for item in value), default=level)
    return level


class StrictJSONParser(BaseParser):
    """UTF-8 JSON object; numbers with a fraction become Decimal; NaN and Infinity are refused."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read the body. ParseError (400) when it is not a JSON object; 413 when too large."""
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
        except (ValueError, RecursionError) as error:
            raise ParseError("The body is not valid JSON.") from error
        if not isinstance(data, dict):
            raise ParseError("The body must be a JSON object.")
        if _depth(data) > MAX_DEPTH:
            raise ParseError("The body is nested too deeply.")
        return data


class NumberEncoder(JSONEncoder):
    """Decimals leave as JSON numbers (api.md: money is a JSON number with at most two decimals).

    The detour over the shortest float is exact for every amount below 90 lakh crore rupees:
    Python prints the shortest text that reads back to the same double, which has our decimals.
    """

    def default(self, obj: Any) -> Any:
        """Decimal to number; the rest as DRF does."""
        if isinstance(obj, Decimal):
            return int(obj) if obj == obj.to_integral_value() else float(obj)
        return super().default(obj)


class NumberJSONRenderer(JSONRenderer):
    """DRF's renderer with :class:`NumberEncoder`."""

    encoder_class = NumberEncoder
