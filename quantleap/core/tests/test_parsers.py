"""Bodies are hostile until parsed; numbers stay exact in both directions."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from quantleap.core.api.exceptions import flatten
from quantleap.core.api.pagination import check_query
from quantleap.core.api.parsers import MAX_DEPTH, NumberJSONRenderer, StrictJSONParser
from quantleap.core.api.serializers import (
    StrictBooleanField,
    StrictCharField,
    StrictDecimalField,
    StrictIntegerField,
    StrictSerializer,
)


def parse(raw: bytes) -> Any:
    return StrictJSONParser().parse(io.BytesIO(raw))


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_parse_or_be_refused(raw: bytes) -> None:
    try:
        assert isinstance(parse(raw), dict)
    except (ParseError, ValidationError):
        return


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e99999999999999999999}',
        b'{"a": ' + b"1" * 5000 + b"}",
        b'{"\\ud800": 1}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    ],
)
def test_what_is_not_one_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse(raw)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"a": 1, "b": 3, "a": 2}', "a"),
        (b'{"a": {"b": [1, "\\udfff"]}}', "a.b.1"),
        ('{"é": "é\\ud800"}'.encode(), "é"),
    ],
)
def test_a_member_that_cannot_be_read_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parse(raw)
    assert list(flatten(refused.value.detail)) == [field]


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_a_body_beyond_the_limit_is_413(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert parse(b'{"a": "' + b"x" * 80 + b'"}')
    with pytest.raises(RequestDataTooBig):
        parse(b'{"a": "' + b"x" * 100 + b'"}')


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_money_leaves_as_a_number_that_reads_back_the_same(amount: Decimal) -> None:
    text = NumberJSONRenderer().render({"fee": amount})
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal)["fee"] == amount


class Body(StrictSerializer):
    """One field of each strict kind."""

    text = StrictCharField(required=False, max_length=10)
    number = StrictIntegerField(required=False)
    flag = StrictBooleanField(required=False)
    multiplier = StrictDecimalField(max_digits=6, decimal_places=2, required=False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"other": 1}, "other"),
        ({"text": 5}, "text"),
        ({"text": True}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"number": "5"}, "number"),
        ({"number": True}, "number"),
        ({"number": Decimal("1.5")}, "number"),
        ({"flag": "true"}, "flag"),
        ({"flag": 1}, "flag"),
        ({"multiplier": "1.5"}, "multiplier"),
        ({"multiplier": True}, "multiplier"),
        ({"multiplier": Decimal("1.005")}, "multiplier"),
        ({"multiplier": []}, "multiplier"),
    ],
)
def test_a_wrong_type_is_refused_by_the_fields_name(body: dict[str, Any], field: str) -> None:
    bound = Body(data=body)
    assert not bound.is_valid()
    assert list(bound.errors) == [field]


def test_right_types_pass() -> None:
    body = {"text": "a", "number": 5, "flag": False, "multiplier": Decimal("1.5")}
    bound = Body(data=body)
    assert bound.is_valid(), bound.errors
    assert bound.validated_data == body


def test_nested_errors_are_named_by_dotted_path() -> None:
    detail = {"allocations": [{}, {"lot_multiplier": ["Too small."]}], "non_field_errors": ["No."]}
    assert flatten(detail) == {"allocations.1.lot_multiplier": "Too small.", "body": "No."}


@pytest.mark.parametrize("query", ["?pge=1", "?page=1", "?status=&__proto__=1"])
def test_an_unknown_query_parameter_is_refused_by_name(query: str) -> None:
    request = Request(APIRequestFactory().get("/" + query))
    with pytest.raises(ValidationError):
        check_query(request, frozenset({"status"}))
