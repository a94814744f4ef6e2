"""Valid bodies for every serializer, and every invalid value of a field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from quantleap.core.tests.matrix.dataset import BACK, Dataset
from quantleap.core.tests.matrix.routes import Operation

Body = dict[str, Any]
AnyField = serializers.Field[Any, Any, Any, Any]

NEW_CLIENT_ID = "NEW123"
#: Customer and account are new where a body may create them: a refusal must leave neither. A valid
#: value for every field of every body. A new field must be added here.
GOOD: Mapping[str, Callable[[Dataset], Any]] = {
    "accepted_disclosure_version": lambda dataset: 1,
    "allocations": lambda dataset: [{"broker_client_id": NEW_CLIENT_ID}],
    "api_key": lambda dataset: "an-api-key",
    "api_secret": lambda dataset: "an-api-secret",
    "auth_token": lambda dataset: "code1",
    "auto_link_broker": lambda dataset: True,
    "broker": lambda dataset: "zebu",
    "broker_client_id": lambda dataset: NEW_CLIENT_ID,
    "broker_name": lambda dataset: "zebu",
    "client_id": lambda dataset: NEW_CLIENT_ID,
    "code": lambda dataset: "code1",
    "external_user_id": lambda dataset: "partners-own-id-1",
    "expected_monthly_fee": lambda dataset: 999,
    "expected_version": lambda dataset: 1,
    "lot_multiplier": lambda dataset: 1,
    "max_lots_per_order": lambda dataset: 5,
    "open_positions": lambda dataset: "MANAGE",
    "priority": lambda dataset: 1,
    "reason": lambda dataset: "asked by phone",
    "redirect_uri": lambda dataset: BACK,
    "request_token": lambda dataset: "code1",
    "state": lambda dataset: "state-that-nobody-gave",
    "template_basket_id": lambda dataset: dataset.me.offered.public_id,
    "template_id": lambda dataset: dataset.me.offered.public_id,
    "user_email": lambda dataset: "new.customer@example.com",
    "user_name": lambda dataset: "Asha",
    "user_state": lambda dataset: "27",
}
#: Fields that a body needs although the serializer does not say so: one of several names, or only
#: this route needs it.
NEEDED_TOO = frozenset({"template_id", "broker_client_id", "request_token", "user_email"})
OTHER_NAMES = {"template_id": ("template_basket_id",), "request_token": ("code", "auth_token")}
_PLACE = "@@here@@"

# -- JSON literals that are invalid for a kind of field
# -----------------------------------------------
NO_TEXT = ("1", "1.5", "true", "[]", "{}", '["x"]', '{"x": "y"}', "1e400", "9" * 40)
BAD_TEXT = ('"a\\u0000b"', '"a\\u0007b"', '"a\\u001b[2Jb"', '"a\\nb"', '"a\\u009fb"')
NOT_UNICODE = ('"a\\ud800b"', '"\\udfff"')
NO_INTEGER = ('"1"', "1.5", "1.0", "true", "[]", "{}", "[1]", "-1", "0", "9" * 40, "1e400", "1E2")
NO_DECIMAL = (
    *('"1"', "true", "[]", "{}", "[1]", "0", "-1", "0.00", "-0.01", "1.234", "1e-30", "1e30"),
    *("9" * 40, "1e999999999", "1E-999999999", "1234567"),
)
#: A fee may be 0, and larger than a multiplier.
NO_FEE = tuple(text for text in NO_DECIMAL if text not in ("0", "0.00", "1234567"))
NO_BOOLEAN = ('"true"', "1", "0", "null", "[]", "{}", '""')
NO_CHOICE = ('"NOPE"', '"manage"', "1", "true", "null", "[]", "{}", '["MANAGE"]', '""')
NO_LIST = ('"x"', "1", "true", "null", "{}", "[]", "[1]", "[null]", "[[]]", '["x"]', "[{}]")
NO_EMAIL = ('"nobody"', '"a@b"', '"a@@b.example"', '"a b@c.example"', '"\\"\\u0001\\"@c.example"')
#: Correct by type, wrong by meaning.
BAD_WORDS: Mapping[str, tuple[str, ...]] = {
    "broker": ('"nosuch"', '"zebu; drop"'),
    "broker_client_id": ('"Z 1"', '"Z/1"', '"ज़ेबु"', '"-1"', '"../x"'),
    "broker_name": ('"nosuch"',),
    "client_id": ('"Z 1"', '"Z/1"', '"ज़ेबु"', '"-1"', '"../x"'),
    "external_user_id": ('"ज़ेबु"', '" a"', '"a "', '"a\\tb"', '"a\\u00a0b"', '"\\u212a"'),
    "redirect_uri": ('"https://evil.example/"', f'"{BACK}/"', f'"{BACK.upper()}"'),
    "request_token": ('"two words"', '"é"'),
    "state": ('"state-that-nobody-gave"', '"é"'),
    "user_state": ('"2"', '"28"', '"AA"', '"२७"', '"127"'),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A field of a body. ``path`` is dotted (``allocations.0.broker``)."""

    path: str
    field: AnyField

    @property
    def name(self) -> str:
        """The field's own name."""
        return self.path.rpartition(".")[2]


def places(serializer: serializers.Serializer[Any], prefix: str = "") -> Iterator[Place]:
    """Every field of a body, including nested ones."""
    for name, field in serializer.fields.items():
        yield Place(prefix + name, field)
        if isinstance(field, serializers.ListSerializer):
            assert isinstance(field.child, serializers.Serializer)
            yield from places(field.child, f"{prefix}{name}.0.")


def needed(operation: Operation) -> list[str]:
    """The fields of the smallest valid body, first those that are required on their own."""
    fields = _fields(operation)
    too = frozenset() if operation.method == "PATCH" else NEEDED_TOO  # which changes anything
    return sorted(
        (
            name
            for name, field in fields.items()
            if field.required or (name in too and not field.allow_null)
        ),
        key=lambda name: not fields[name].required,
    )


def good_body(operation: Operation, dataset: Dataset) -> Body:
    """The smallest body that is accepted (except for a callback, which needs a live state)."""
    body = {name: GOOD[name](dataset) for name in needed(operation)}
    if operation.route.split("{")[0].rstrip("/").endswith("/subscribe"):
        body["user_state"] = GOOD["user_state"](dataset)  # nobody new is invoiced without
    if "subscription_id" in operation.parameters and "lot_multiplier" in _fields(operation):
        body["lot_multiplier"] = 2  # a size that differs from today's
    if "client_id" in operation.parameters and "user_email" in body:  # whose account it is
        body["user_email"] = dataset.me.customer.email
    return body


def _fields(operation: Operation) -> Mapping[str, AnyField]:
    assert operation.serializer is not None
    return operation.serializer().fields


def with_literal(operation: Operation, dataset: Dataset, place: Place, literal: str) -> str:
    """A valid body except for one field, whose value is this JSON literal."""
    body = good_body(operation, dataset)
    if place.path.startswith("allocations"):
        body.pop("broker_client_id")
        body["allocations"] = GOOD["allocations"](dataset)
    if "." in place.path:
        body["allocations"][0][place.name] = _PLACE
    else:
        body[place.name] = _PLACE
    for name, others in OTHER_NAMES.items():
        if place.name in others:  # said once, under its other name
            body.pop(name, None)
    return json.dumps(body).replace(json.dumps(_PLACE), literal)


def wrong_values(place: Place) -> Iterator[str]:
    """JSON literals that this field must refuse."""
    field = place.field
    if isinstance(field, serializers.ListSerializer):
        yield from NO_LIST
        return
    if isinstance(field, serializers.ChoiceField):
        yield from NO_CHOICE
        return
    if isinstance(field, serializers.BooleanField):
        yield from NO_BOOLEAN
        return
    if not field.allow_null:
        yield "null"
    if isinstance(field, serializers.IntegerField):
        yield from (*NO_INTEGER, str((field.max_value or 2**31) + 1))
    elif isinstance(field, serializers.DecimalField):
        yield from NO_FEE if field.min_value == 0 else NO_DECIMAL
    else:
        assert isinstance(field, serializers.CharField), f"teach the matrix {type(field)}"
        yield from _wrong_texts(place, field)


def _wrong_texts(place: Place, field: serializers.CharField) -> Iterator[str]:
    yield from (*NO_TEXT, *BAD_TEXT, *NOT_UNICODE, *BAD_WORDS.get(place.name, ()))
    yield json.dumps("x" * ((field.max_length or 600) + 1))
    if not field.allow_blank:
        yield from ('""', '"  "')
    if isinstance(field, serializers.EmailField):
        yield from NO_EMAIL


#: Bodies that are not one JSON object, whatever the route. Bytes, and the name of what is wrong.
BROKEN: Mapping[str, bytes] = {
    "cut off": b'{"reason": ',
    "nothing but spaces": b"  ",
    "array": b"[]",
    "array of objects": b'[{"reason": "x"}]',
    "null": b"null",
    "number": b"1",
    "text": b'"text"',
    "single quotes": b"{'reason': 'x'}",
    "trailing comma": b'{"reason": "x",}',
    "two objects": b"{}{}",
    "comment": b'{"reason": "x"} // why',
    "NaN": b'{"reason": NaN}',
    "Infinity": b'{"reason": Infinity}',
    "minus Infinity": b'{"reason": -Infinity}',
    "exponent without end": b'{"reason": 1e99999999999999999999}',
    "5000 digits": b'{"reason": ' + b"7" * 5000 + b"}",
    "not UTF-8": b'{"reason": "\xff"}',
    "UTF-16": '{"reason": "x"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "form": b"reason=x&open_positions=MANAGE",
    "nine deep": b'{"a":' * 9 + b"1" + b"}" * 9,
    "far too deep": b'{"a":' + b"[" * 100_000,
    "raw control character": b'{"reason": "a\x00b"}',
    "name that is not Unicode": b'{"\\ud800": 1}',
    "bytes": bytes(range(256)),
}
