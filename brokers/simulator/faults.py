"""Faults on demand: which call is struck, and how. Pure and deterministic.

A fault strikes the first ``count`` matching calls in order of arrival; a call takes at most one
fault (the oldest that matches). Only place calls match unless the fault names another operation.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from brokers.simulator.rules import Reason


class Kind(enum.StrEnum):
    """What goes wrong. See docs/brokers/simulator.md."""

    DROP_AFTER_ACCEPT = "drop_after_accept"
    STATUS_AFTER_ACCEPT = "status_after_accept"
    HIDE = "hide"
    RATE_LIMIT = "rate_limit"
    REJECT = "reject"
    DELAY = "delay"
    HTML_502 = "html_502"
    TRUNCATED_JSON = "truncated_json"
    REFUSE = "refuse"
    SAY = "say"
    EXPIRED_SESSION = "expired_session"
    PARTIAL_FILL = "partial_fill"
    LAG = "lag"


MATCH_KEYS: Final = frozenset({"broker", "client_id", "tag", "symbol", "side"})
OPERATIONS: Final = frozenset({"place", "cancel", "modify", "book", "positions", "quote", "token"})
NOT_ACCEPTED: Final = frozenset(
    {Kind.RATE_LIMIT, Kind.HTML_502, Kind.REFUSE, Kind.SAY, Kind.EXPIRED_SESSION}
)
PLACE_ONLY: Final = frozenset({Kind.HIDE, Kind.REJECT, Kind.PARTIAL_FILL})


class FaultError(ValueError):
    """The description of a fault is invalid; the message says why."""


@dataclass(slots=True)
class Fault:
    """One armed fault. ``count`` None: unlimited."""

    id: str
    kind: Kind
    operation: str
    match: Mapping[str, str]
    count: int | None
    params: Mapping[str, Any]
    hits: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_spent(self) -> bool:
        """Whether it has struck as often as it should."""
        return self.count is not None and len(self.hits) >= self.count

    @property
    def lag(self) -> float:
        """Seconds by which the positions of a struck read lag behind the fills."""
        return float(self.params["seconds"]) if self.kind is Kind.LAG else 0.0

    @property
    def prevents_acceptance(self) -> bool:
        """Whether a struck place call never becomes an order."""
        return self.kind in NOT_ACCEPTED or (
            self.kind is Kind.REJECT and not self.params.get("async", False)
        )

    def describe(self) -> dict[str, Any]:
        """The fault as the control port shows it."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "op": self.operation,
            "match": dict(self.match),
            "count": self.count,
            "params": dict(self.params),
            "hit_count": len(self.hits),
            "hits": self.hits,
        }


class Faults:
    """The armed and the spent faults."""

    def __init__(self) -> None:
        self.all: list[Fault] = []
        self._armed: list[Fault] = []
        self._sequence = 0

    def arm(self, description: Mapping[str, Any]) -> Fault:
        """Arm a fault from its JSON description. Raises :class:`FaultError`."""
        params = dict(description)
        try:
            kind = Kind(params.pop("kind", ""))
        except ValueError as error:
            raise FaultError(f"kind: one of {', '.join(Kind)}") from error
        operation = params.pop("op", "place")
        only = "place" if kind in PLACE_ONLY else "positions" if kind is Kind.LAG else operation
        if operation not in OPERATIONS or operation != only:
            raise FaultError(f"op: {operation!r} does not go with {kind}")
        match = params.pop("match", None) or {}
        if not isinstance(match, Mapping) or not MATCH_KEYS.issuperset(match):
            raise FaultError(f"match: an object with keys of {', '.join(sorted(MATCH_KEYS))}")
        count = params.pop("count", None)
        if count is not None and (not isinstance(count, int) or count < 1):
            raise FaultError("count: a positive whole number or null")
        _check_params(kind, params)
        self._sequence += 1
        fault = Fault(
            id=f"fault_{self._sequence}",
            kind=kind,
            operation=operation,
            match={k: str(v) for k, v in match.items()},
            count=count,
            params=params,
        )
        self.all.append(fault)
        self._armed.append(fault)
        return fault

    def strike(self, operation: str, now: dt.datetime, **call: str) -> Fault | None:
        """The fault that strikes this call, recorded as a hit, or None.

        ``call`` holds what is known about it under the keys of ``MATCH_KEYS``.
        """
        if not self._armed:
            return None
        for fault in self._armed:
            if fault.operation == operation and all(
                call.get(key) == value for key, value in fault.match.items()
            ):
                fault.hits.append({**call, "order_id": "", "at": now.isoformat()})
                if fault.is_spent:
                    self._armed.remove(fault)
                return fault
        return None

    def clear(self, client_ids: Collection[str] = ()) -> None:
        """Remove all faults, or those that name one of these clients."""
        for faults in (self.all, self._armed):
            faults[:] = [
                f for f in faults if client_ids and f.match.get("client_id") not in client_ids
            ]


def _check_params(kind: Kind, params: Mapping[str, Any]) -> None:
    seconds = params.get("seconds")
    if kind in (Kind.HIDE, Kind.DELAY, Kind.LAG) and not (
        isinstance(seconds, (int, float)) and 0 <= seconds <= 3600
    ):
        raise FaultError("seconds: a number from 0 to 3600")
    if kind is Kind.HIDE and params.get("answer", "ok") not in ("ok", "drop", "status"):
        raise FaultError("answer: ok, drop or status")
    if kind is Kind.SAY and not params.get("message"):
        raise FaultError("message: what the broker should say")
    if kind is Kind.REJECT and params.get("cause", "OTHER") not in set(Reason):
        raise FaultError(f"cause: one of {', '.join(Reason)}")
    fraction = params.get("fraction", 0.5)
    if kind is Kind.PARTIAL_FILL and not (isinstance(fraction, (int, float)) and 0 <= fraction < 1):
        raise FaultError("fraction: a number from 0 to below 1")
    status = params.get("status", 504)
    if not (isinstance(status, int) and 100 <= status <= 599):
        raise FaultError("status: an HTTP status")
