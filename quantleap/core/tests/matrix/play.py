"""Sends requests that must be refused, and checks everything about the answers."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from quantleap.core.api.rate_limits import HEADERS as LIMIT_HEADERS
from quantleap.core.tests.matrix.cases import JSON, Case
from quantleap.core.tests.matrix.dataset import Dataset, fingerprint

MEMBERS = {"statusCode", "error", "code", "message", "details", "request_id"}
#: Internal details that an answer must never contain.
INSIDES = ("Traceback", "psycopg", "django.", "quantleap.", "/site-packages/", "SELECT ")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Answer:
    """A received answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body; ValueError if it is not JSON."""
        return json.loads(self.content)


def new_client() -> Client:
    """A client that turns a crash into a 500, as on the wire. Creating one costs more than a
    request."""
    return Client(raise_request_exception=False)


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """Roll back whatever is written inside, so that many cases can share one dataset."""
    savepoint = transaction.savepoint()
    yield
    transaction.savepoint_rollback(savepoint)


def send(client: Client, case: Case) -> Answer:
    """Send the request, in a savepoint that is rolled back if the server failed (so that the next
    one can run)."""
    savepoint = transaction.savepoint()
    response = client.generic(
        case.method or case.operation.method,
        case.url,
        data=case.body,
        content_type=case.content_type,
        headers=dict(case.headers),
        **case.extra,
    )
    content = b"".join(response) if response.streaming else response.content
    if response.status_code >= 500:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(savepoint)
    else:
        transaction.savepoint_commit(savepoint)
    # how many requests are left is another number for every answer
    headers = {name: value for name, value in response.headers.items() if name not in LIMIT_HEADERS}
    return Answer(response.status_code, headers, content)


def play(
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    at_least: int,
    category: str,
    record: Callable[[str, object], None],
) -> None:
    """Try all cases; fail with everything that was not as required.

    Fewer than ``at_least`` cases also fail: a generator that generates nothing proves nothing.
    """
    client = new_client()
    tried = 0
    problems: list[str] = []
    for operation, group in itertools.groupby(cases, key=lambda case: case.operation):
        before = fingerprint()
        for case in group:
            tried += 1
            problems += [f"{case}: {words}" for words in faults(dataset, case, send(client, case))]
        after = fingerprint()
        problems += [
            f"{operation}: {category}: {table} changed"
            for table in after
            if after[table] != before[table]
        ]
    record("tried", f"{tried} bad requests: {category}")
    if problems:
        left_out = max(0, len(problems) - _SHOWN)
        pytest.fail("\n".join([*problems[:_SHOWN], f"… and {left_out} more"]), pytrace=False)
    assert tried >= at_least, f"{category}: only {tried} cases"


def faults(dataset: Dataset, case: Case, answer: Answer) -> list[str]:
    """What is wrong with an answer, as text."""
    problems = []
    if answer.status != case.status:
        problems.append(f"{answer.status} instead of {case.status}: {answer.content[:300]!r}")
    if (case.method or case.operation.method) == "HEAD":
        return problems
    text = answer.content.decode("utf-8", "replace")
    problems += [f"says {word!r}" for word in (*INSIDES, *dataset.secrets) if word in text]
    if answer.status == 401 and not answer.headers.get("WWW-Authenticate"):
        problems.append("no WWW-Authenticate")
    if answer.status == 405 and not answer.headers.get("Allow"):
        problems.append("no Allow")
    return problems + envelope_faults(case, answer)


def envelope_faults(case: Case, answer: Answer) -> list[str]:
    """What is wrong with an error's body."""
    if not answer.headers.get("Content-Type", "").startswith(JSON):
        return [f"is {answer.headers.get('Content-Type')}"]
    body = answer.json()
    if not isinstance(body, dict) or not set(body) >= MEMBERS:
        return [f"is no envelope: {body!r}"[:300]]
    problems = []
    if body["statusCode"] != answer.status:
        problems.append(f"statusCode {body['statusCode']}")
    problems += [f"{name} is empty" for name in ("error", "code", "message") if not body[name]]
    if body["request_id"] != answer.headers.get("X-Request-Id"):
        problems.append("request_id is not X-Request-Id")
    details = body["details"]
    if not isinstance(details, dict) or not all(
        isinstance(detail, str) for detail in details.values()
    ):
        return [*problems, f"details {details!r}"]
    if case.code and body["code"] != case.code:
        problems.append(f"code {body['code']} instead of {case.code}")
    named = any(name == case.names or name.startswith(f"{case.names}.") for name in details)
    if case.names and not named:
        problems.append(f"{case.names} is not in details {details!r}")
    return problems
