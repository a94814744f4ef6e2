"""A request that must be refused: a valid one with one mistake."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from quantleap.core.tests.matrix.bodies import good_body
from quantleap.core.tests.matrix.dataset import Dataset, Headers
from quantleap.core.tests.matrix.routes import Operation, operations

JSON = "application/json"
INVALID, UNKNOWN = (400, "invalid_request"), (404, "not_found")
TOO_LARGE = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
JUNK = b'{"junk": '
UNKNOWN_QUERY = "colour=red"
#: Ids that do not exist, of any kind.
NOBODYS: Mapping[str, str] = {
    "unknown": "sub_00000000000000000000",
    "nothing like an id": "1",
    "too long": "x" * 300,
    "NUL": "\0",
    "NUL inside": "sub_\0000000000",
    "space": " ",
    "percent": "%",
    "wildcard": "*",
    "quote": "' OR 1=1 --",
    "not ASCII": "ज़ेबु",
    "emoji": "\U0001f600",
    "line feed": "a\nb",
    "dots": "..",
    "null": "null",
    "negative": "-1",
}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Case:
    """One request and the refusal it must get. ``names`` is a key of ``details``."""

    operation: Operation
    why: str
    url: str
    headers: Headers
    status: int
    code: str = ""
    names: str = ""
    method: str = ""
    body: bytes = b""
    content_type: str = JSON
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = self.body[:200].decode("utf-8", "backslashreplace")
        return f"{self.method or self.operation.method} {self.url} [{self.why}] {shown}"


Cases = Iterator[Case]


def with_body() -> list[Operation]:
    """Operations that read a body."""
    return [operation for operation in operations() if operation.serializer is not None]


def good_bytes(operation: Operation, dataset: Dataset) -> bytes:
    """A body that is accepted, empty where none is read."""
    if operation.serializer is None:
        return b""
    return json.dumps(good_body(operation, dataset)).encode()


def request(
    operation: Operation, dataset: Dataset, why: str, status: int, code: str = "", **changes: Any
) -> Case:
    """A valid request except for ``changes``, and the refusal it must get.

    Every other POST has an ``Idempotency-Key``: a refusal must not use it up.
    """
    ids: dict[str, str] = {**dataset.me.ids, **changes.pop("ids", {})}
    number = next(_numbers)
    key = {"Idempotency-Key": f"try-{number}"} if operation.method == "POST" and number % 2 else {}
    values: dict[str, Any] = {
        "url": operation.url(ids, changes.pop("query", "")),
        "headers": {**dataset.headers(operation.surface), **key},
        "body": good_bytes(operation, dataset),
    }
    return Case(operation, why, status=status, code=code, **{**values, **changes})


def all_wrong(operation: Operation, *, from_body: bool = False) -> dict[str, Any]:
    """All possible mistakes at once: size or body, query, ids."""
    changes: dict[str, Any] = {"ids": dict.fromkeys(operation.parameters, NOBODYS["unknown"])}
    if from_body:
        return {**changes, "body": JUNK if operation.serializer else b""}
    return {
        **changes,
        "query": UNKNOWN_QUERY,
        "body": b" " * TOO_LARGE,
        "content_type": "text/plain",
    }
