"""What the stand-in does to a client's calls, beyond the simulator's own faults. Pure.

A trick names the clients and the operations it is for. The first trick that matches a call takes
it; ``count`` bounds how many.
"""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from brokers.simulator.wire import Answer, Call, to_json

OPERATIONS: Final = frozenset({"place", "cancel", "modify", "book", "positions", "quote", "other"})
#: Kite answers a breach of its pace with 429, Noren with a 400 and this sentence.
TOO_MANY: Final = {
    "zerodha": (
        429,
        {
            "status": "error",
            "message": "Too many requests",
            "data": None,
            "error_type": "NetworkException",
        },
    ),
    "zebu": (
        400,
        {
            "stat": "Not_Ok",
            "emsg": "Invalid Input :  Order Recieved 11 in a current second exceeds Limit 10 for"
            " user",
        },
    ),
}


class Kind(enum.StrEnum):
    """What goes wrong."""

    #: The call is answered as of ``seconds`` ago (negative: ahead).
    STALE = "stale"
    #: ``status``, ``body``, ``headers`` instead of the broker's answer; with ``after`` the call is
    #: done first.
    ANSWER = "answer"
    #: "Too many requests" for ``seconds`` from the first call on; ``retry_after`` is a header.
    BUSY = "busy"
    #: The answer in pieces of ``size`` bytes, ``pause`` seconds apart.
    PIECES = "pieces"
    #: ``103 Early Hints`` before the answer.
    INTERIM = "interim"
    #: A second answer behind the first, in one segment; the connection stays.
    TWIN = "twin"
    #: Every row of a list gets ``value`` as its ``field``.
    EDIT = "edit"
    #: Orders further than ``percent`` from the last price are refused, naming the band.
    BAND = "band"
    #: A change or cancel is answered as done, and nothing is done.
    IDLE = "idle"
    #: Of the order that a change or cancel names, the share ``fraction`` fills just before it.
    FILLS = "fills"
    #: The answer is made ``megabytes`` long with rows of somebody's other orders.
    BULK = "bulk"


class TrickError(ValueError):
    """The description of a trick cannot be understood."""


@dataclass(slots=True)
class Trick:
    """One trick in force. Empty ``clients``: everybody's calls."""

    kind: Kind
    operations: frozenset[str]
    clients: frozenset[str]
    params: Mapping[str, Any]
    count: int | None = None
    used: int = 0
    since: float = 0.0

    def takes(self, operation: str, client_id: str, now: float) -> bool:
        """Whether this call is struck; counts it, and notes the first."""
        if operation not in self.operations or (self.clients and client_id not in self.clients):
            return False
        if self.count is not None and self.used >= self.count:
            return False
        if self.used and self.kind is Kind.BUSY and now >= self.since + self.params["seconds"]:
            return False
        if not self.used:
            self.since = now
        self.used += 1
        return True


def understood(said: Mapping[str, Any]) -> Trick:
    """A trick from its JSON. Raises TrickError."""
    params = dict(said)
    try:
        kind = Kind(params.pop("kind", ""))
    except ValueError:
        raise TrickError(f"kind: one of {', '.join(Kind)}") from None
    operations = frozenset(params.pop("ops", ()))
    if not operations or not operations <= OPERATIONS:
        raise TrickError(f"ops: some of {', '.join(sorted(OPERATIONS))}")
    clients = frozenset(str(client) for client in params.pop("clients", ()))
    count = params.pop("count", None)
    return Trick(kind, operations, clients, params, count)


def first(
    tricks: Iterable[Trick], operation: str, client_id: str, now: float, kinds: Iterable[Kind]
) -> Trick | None:
    """The trick of one of these kinds that takes the call."""
    allowed = frozenset(kinds)
    return next(
        (t for t in tricks if t.kind in allowed and t.takes(operation, client_id, now)), None
    )


# -- answers -------------------------------------------------------------------------------------
def canned(params: Mapping[str, Any]) -> Answer:
    """What an ANSWER says instead of the broker."""
    return Answer(
        int(params.get("status", 500)),
        str(params.get("body", "")).encode(),
        str(params.get("content_type", "text/html")),
        {str(name): str(value) for name, value in params.get("headers", {}).items()},
    )


def too_many(broker: str, params: Mapping[str, Any]) -> Answer:
    """The broker's "too many requests", with ``Retry-After`` where it is asked for."""
    status, body = TOO_MANY[broker]
    after = params.get("retry_after")
    headers = {} if after is None else {"Retry-After": str(after)}
    return Answer(status, to_json(body), headers=headers)


def as_done(order_id: str, broker: str) -> Answer:
    """The answer of a change or cancel that was done."""
    if broker == "zerodha":
        return Answer(200, to_json({"status": "success", "data": {"order_id": order_id}}))
    return Answer(200, to_json({"stat": "Ok", "result": order_id}))


def named_order(call: Call, broker: str) -> str:
    """The order that a change or cancel names; '' where it names none."""
    if broker == "zerodha":
        return call.path.rstrip("/").rpartition("/")[2]
    try:
        head = call.body.decode().partition("&")[0]
        return str(json.loads(head.removeprefix("jData=")).get("norenordno", ""))
    except (ValueError, AttributeError):
        return ""


def edited(answer: Answer, field: str, value: object) -> Answer:
    """Every row of the answer's list with another value."""
    return _with_rows(answer, lambda rows: [row | {field: value} for row in rows])


def bulky(answer: Answer, megabytes: float) -> Answer:
    """The answer with so many rows of others behind ours that it is this long."""
    rows = _rows(answer)
    end = answer.body.rfind(b"]")
    if not rows or end < 0:
        return answer
    # somebody's other orders of the day: no tag of ours, final, nothing filled
    blank: dict[str, object] = {"tag": "", "remarks": "", "filled_quantity": 0, "fillshares": "0"}
    blank |= {"status": "REJECTED"}
    row = rows[0] | {name: value for name, value in blank.items() if name in rows[0]}
    body = answer.body[:end] + b"," + _filler(to_json(row), megabytes) + answer.body[end:]
    return Answer(answer.status, body, answer.content_type, answer.headers, answer.fault)


@functools.lru_cache(maxsize=16)
def _filler(row: bytes, megabytes: float) -> bytes:
    """Copies of a row, each with an id of its own: made once, for books are read often."""
    said = json.loads(row)
    key = "order_id" if "order_id" in said else "norenordno"
    head, tail = to_json(said | {key: "@"}).split(b"@")
    copies = int(megabytes * 1_000_000 / len(row))
    return b",".join(head + b"9%014d" % number + tail for number in range(copies))


def _rows(answer: Answer) -> list[dict[str, Any]]:
    try:
        said = json.loads(answer.body, parse_float=Decimal)
    except ValueError:
        return []
    rows = said.get("data") if isinstance(said, dict) else said
    return rows if isinstance(rows, list) else []


def _with_rows(answer: Answer, change: Any) -> Answer:
    try:
        said = json.loads(answer.body, parse_float=Decimal)
    except ValueError:
        return answer
    rows = said.get("data") if isinstance(said, dict) else said
    if not isinstance(rows, list):
        return answer
    rows = change(rows)
    body = to_json(said | {"data": rows} if isinstance(said, dict) else rows)
    return Answer(answer.status, body, answer.content_type, answer.headers, answer.fault)
