"""What a scenario ended in, judged at the stand-in's book and at what the product says of it. Pure.

Units are units of the contract. An account is its client id. Nothing is asked of the product but
its rows: what it calls filled, open, missed or alarming is compared with the broker's own figures.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

DEAD: Final = frozenset({"REJECTED", "MISSED", "CANCELLED"})
TERMINAL: Final = frozenset({"CLOSED", "FAILED", "MISSED", "WITHDRAWN"})
BY_HAND: Final = "BYHAND"
CODE_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Order:
    """One order of the stand-in's book. ``code`` is the intent's, ``""`` where it has none."""

    client: str
    tag: str
    code: str
    symbol: str
    side: str
    quantity: int
    filled: int
    status: str
    received_at: dt.datetime
    updated_at: dt.datetime

    @property
    def lives(self) -> bool:
        """Whether it may hold or has taken units."""
        return self.filled > 0 or self.status in {"PENDING", "OPEN", "TRIGGER_PENDING"}

    @property
    def signed(self) -> int:
        """Filled units, negative for a sale."""
        return self.filled if self.side == "BUY" else -self.filled


@dataclass(frozen=True, slots=True)
class Intent:
    """What the product says of one order of its own."""

    client: str
    code: str
    purpose: str
    state: str
    quantity: int
    filled: int
    cause: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What the product says of one customer."""

    client: str
    status: str
    cause: str
    attention: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything there is to judge by, of one dialect. ``alarms``: when each client's was first
    seen; ``calls``: how many of each kind each client's session made."""

    entry_at: dt.datetime
    clients: Sequence[str]
    orders: Sequence[Order]
    positions: Mapping[tuple[str, str], int]
    intents: Sequence[Intent]
    executions: Sequence[Execution]
    alarms: Mapping[str, dt.datetime] = field(default_factory=dict)
    calls: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Right:
    """What a scenario must end in.

    ``enters``: ``all`` (every leg of everybody), ``none`` (no order leaves) or ``any``. ``flat``
    False: positions may be open if they are named. ``over`` False: executions may be unfinished if
    they are named, for nobody could know how their orders ended. ``alarm``: seconds within which
    everybody (or the ``troubled``) has one, None where none is asked for; ``quiet``: nobody may
    have one. ``doubles``: second orders may have reached the book (it hid the first), if they were
    closed. ``calls``: at most so many of a kind by one client. ``within``: seconds from T until
    everybody's first order is there.
    """

    enters: str = "all"
    flat: bool = True
    over: bool = True
    alarm: float | None = None
    quiet: bool = False
    doubles: bool = False
    causes: frozenset[str] = frozenset()
    calls: Mapping[str, int] = field(default_factory=dict)
    within: float | None = None


@dataclass(slots=True)
class Verdict:
    """The figures of one scenario in one dialect; it is right when there is no problem."""

    expected: int = 0
    sent: int = 0
    duplicate: int = 0
    lost: int = 0
    early: int = 0
    open: int = 0
    reversed: int = 0
    unnamed: int = 0
    late: float | None = None
    alarm: float | None = None
    problems: list[str] = field(default_factory=list)
    #: How many customers ended how: status and cause.
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def judge(
    seen: Seen,
    right: Right,
    legs: int,
    *,
    trouble_at: dt.datetime | None = None,
    troubled: Sequence[str] = (),
    foreign: Mapping[tuple[str, str], int] | None = None,
) -> Verdict:
    """The verdict. ``legs`` orders are an entry; ``trouble_at`` starts the alarm's seconds for
    ``troubled`` (everybody when empty); ``foreign`` are net units that are none of ours."""
    verdict = Verdict(expected=legs * len(seen.clients))
    _orders(seen, right, verdict)
    _lateness(seen, right, verdict)
    _entered(seen, right, legs, verdict)
    _positions(seen, right, foreign or {}, verdict)
    _names(seen, right, verdict)
    _alarm(seen, right, trouble_at, troubled or seen.clients, verdict)
    verdict.ends = dict(Counter(f"{e.status} {e.cause}".strip() for e in seen.executions))
    for (client, kind), count in sorted(seen.calls.items()):
        if count > right.calls.get(kind, count):
            verdict.problems.append(f"{client}: {count} {kind} calls")
    return verdict


def _by_code(orders: Iterable[Order]) -> dict[str, list[Order]]:
    by_code: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        if order.code:
            by_code[order.code].append(order)
    return by_code


def _orders(seen: Seen, right: Right, verdict: Verdict) -> None:
    """Sent, early, duplicate, lost."""
    known = {intent.code: intent for intent in seen.intents}
    for order in seen.orders:
        if order.code in known:
            continue
        if order.tag != BY_HAND:
            verdict.lost += 1
            verdict.problems.append(f"{order.client}: order {order.tag} that nobody here knows")
    for code, orders in _by_code(seen.orders).items():
        intent = known.get(code)
        if intent is None:
            continue
        living = [order for order in orders if order.lives]
        if len(living) > 1:
            verdict.duplicate += 1
        if intent.purpose == "ENTRY":
            verdict.sent += len(living)
            verdict.early += sum(order.received_at < seen.entry_at for order in orders)
        filled = sum(order.filled for order in orders)
        if filled and intent.state in DEAD and not intent.filled:
            verdict.lost += 1
            verdict.problems.append(
                f"{intent.client}: {filled} filled at the broker, {intent.state} here"
            )
    if verdict.early:
        verdict.problems.append(f"{verdict.early} orders before T")
    if verdict.duplicate and not right.doubles:
        verdict.problems.append(f"{verdict.duplicate} orders twice")


def _lateness(seen: Seen, right: Right, verdict: Verdict) -> None:
    """Seconds from T until the last customer's first order arrived."""
    codes = {intent.code for intent in seen.intents if intent.purpose == "ENTRY"}
    firsts: dict[str, float] = {}
    for order in seen.orders:
        if order.code in codes:
            at = (order.received_at - seen.entry_at).total_seconds()
            firsts[order.client] = min(at, firsts.get(order.client, at))
    verdict.late = round(max(firsts.values()), 2) if firsts else None
    if right.within is not None and (verdict.late or 0.0) > right.within:
        verdict.problems.append(f"entries {verdict.late} s late, {right.within:g} were allowed")


def _entered(seen: Seen, right: Right, legs: int, verdict: Verdict) -> None:
    """Whether everybody's entry is what it should be."""
    filled: dict[str, int] = defaultdict(int)
    codes = {intent.code for intent in seen.intents if intent.purpose == "ENTRY"}
    for code, orders in _by_code(seen.orders).items():
        if code in codes and any(order.lives for order in orders):
            filled[orders[0].client] += 1
    for client in seen.clients:
        have = filled[client]
        if right.enters == "all" and have < legs:
            verdict.lost += legs - have
            verdict.problems.append(f"{client}: {have} of {legs} entries at the broker")
        elif right.enters == "none" and have:
            verdict.problems.append(f"{client}: {have} entries left")


def _positions(
    seen: Seen, right: Right, foreign: Mapping[tuple[str, str], int], verdict: Verdict
) -> None:
    """Open and reversed, leg by leg."""
    sides: dict[tuple[str, str], int] = {}
    codes = {intent.code for intent in seen.intents if intent.purpose == "ENTRY"}
    for order in seen.orders:
        if order.code in codes:
            sides[order.client, order.symbol] = 1 if order.side == "BUY" else -1
    for place, quantity in seen.positions.items():
        left = quantity - foreign.get(place, 0)
        if not left:
            continue
        verdict.open += 1
        if left * sides.get(place, 0) < 0:
            verdict.reversed += 1
            verdict.problems.append(f"{place[0]}: {left} of {place[1]}, the other way round")
        elif right.flat:
            verdict.problems.append(f"{place[0]}: {left} of {place[1]} open")


def _names(seen: Seen, right: Right, verdict: Verdict) -> None:
    """Whoever is not plainly closed has an alarm, or ended with a cause."""
    by_client: dict[str, list[Execution]] = defaultdict(list)
    for execution in seen.executions:
        by_client[execution.client].append(execution)
    open_clients = {client for (client, _), quantity in seen.positions.items() if quantity}
    for client in seen.clients:
        mine = by_client[client]
        alarmed = client in seen.alarms or any(e.attention for e in mine)
        unfinished = [e for e in mine if e.status not in TERMINAL]
        if client in open_clients or unfinished:
            verdict.unnamed += not alarmed
        else:
            verdict.unnamed += any(e.status != "CLOSED" and not e.cause for e in mine)
        if client in open_clients and mine and not unfinished:
            verdict.problems.append(f"{client}: open at the broker, {mine[0].status} here")
        for execution in mine:
            said = f"{client}: {execution.status} {execution.cause}".strip()
            if execution in unfinished:
                verdict.problems.extend([said] if right.flat and right.over else [])
            elif right.causes and execution.cause not in right.causes:
                verdict.problems.append(said)
    if verdict.unnamed:
        verdict.problems.append(f"{verdict.unnamed} customers without a word why")


def _alarm(
    seen: Seen,
    right: Right,
    trouble_at: dt.datetime | None,
    troubled: Sequence[str],
    verdict: Verdict,
) -> None:
    """How long the last of the troubled waited for an alarm."""
    waits = [
        max((seen.alarms[client] - trouble_at).total_seconds(), 0.0)
        for client in troubled
        if trouble_at is not None and client in seen.alarms
    ]
    verdict.alarm = round(max(waits), 1) if waits else None
    if right.quiet and seen.alarms:
        verdict.problems.append(f"{len(seen.alarms)} alarms without need")
    if right.alarm is None:
        return
    silent = [client for client in troubled if client not in seen.alarms]
    if silent:
        verdict.problems.append(f"{len(silent)} of {len(troubled)} without an alarm")
    if verdict.alarm is not None and verdict.alarm > right.alarm:
        verdict.problems.append(f"alarm after {verdict.alarm} s, {right.alarm:g} were allowed")
