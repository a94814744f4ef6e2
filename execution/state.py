"""The trading day in memory: the runs, executions and intents of an executor. Pure data.

Postgres holds the truth; these objects are loaded from it when a shard is claimed and written
back in batches. Times named ``*_at`` are UTC instants, ``*_mono`` monotonic seconds. Quantities are
units, prices rupees per unit.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.base import BrokerInstrument, PriceBand, Side
from brokers.real_account import RealAccount
from execution import lifecycle
from execution.absence_proof import AbsenceProof
from execution.alarms import Key
from execution.plan import ResolvedLeg
from execution.price_changes import Change
from execution.risk import Watch
from marketplace.definition import StrategySpec


@dataclass(slots=True)
class LiveIntent:
    """One order intent: the fields of execution.OrderIntent plus what only this process knows."""

    code: str
    tag: str
    execution_id: int
    account_id: int
    shard: int
    leg_key: str
    leg_index: int
    group: int
    slice: int
    purpose: str
    attempt_group: int
    contract_id: int
    instrument: BrokerInstrument
    side: Side
    quantity: int
    price: Decimal
    reference_price: Decimal
    due_at: dt.datetime
    planned_at: dt.datetime
    # source of the reference price, and its age then in seconds (None: not known)
    price_source: str = ""
    price_age: Decimal | None = None
    reason: str = ""
    state: str = lifecycle.PLANNED
    sends: int = 0
    broker_order_id: str = ""
    filled_quantity: int = 0
    average_price: Decimal = Decimal(0)
    # what other orders with our tags filled besides the one that counts (execution.duplicates)
    surplus_quantity: int = 0
    surplus_price: Decimal = Decimal(0)
    surplus_orders: str = ""
    # price changes requested while it rested, oldest first (execution.price_changes)
    changes: tuple[Change, ...] = ()
    cause: str = ""
    message: str = ""
    sent_at: dt.datetime | None = None
    answered_at: dt.datetime | None = None
    final_at: dt.datetime | None = None
    # -- volatile: rebuilt after a restart ---------------------------------------------------
    not_before_mono: float = 0.0
    sent_mono: float = 0.0
    granted_mono: float = 0.0
    unknown_since_mono: float = 0.0
    # tries without a connection: no byte left, so they do not count as sends
    unconnected: int = 0
    proof: AbsenceProof | None = None
    cancel_after_mono: float = 0.0
    cancel_sent_mono: float = 0.0
    # when the newest change was requested, answered or shown; when no change was possible
    change_mono: float = 0.0
    unchanged_mono: float = 0.0
    # when the newest round began: a change, and a cancel if that had no effect
    round_mono: float = 0.0
    # the broker's order is for another quantity than ours: somebody else changed it
    resized: bool = False
    # time of the first cancel, or of the first change since one worked; the number of cancels; the
    # cause to note ('': it rested too long)
    cancel_since_mono: float = 0.0
    cancels: int = 0
    cancel_cause: str = ""
    # when the broker's book last showed it
    seen_mono: float = 0.0
    # of an exit: units that only the positions, and no fill of ours, have shown
    supposed: int = 0
    # send (1 to 3) -> the last moment at which a byte of it could leave, until the book shows it
    hidden: dict[int, float] = field(default_factory=dict)
    # its absence was proven: until then an order may still turn up, and is watched for
    watch_until_mono: float = 0.0
    # of an entry: that moment is past, and the book has not been read since (execution.duplicates)
    out_of_sight: bool = False
    # broker ids of surplus orders that rest
    strays: tuple[str, ...] = ()
    band: PriceBand | None = None
    raw: bytes = b""
    # the channel and the tag that ``raw`` was made for
    raw_for: tuple[object, str] | None = None
    # what was logged last: when answered, units filled, state, cause
    logged: tuple[dt.datetime | None, int, str, str] = (None, 0, lifecycle.PLANNED, "")

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to this intent any more."""
        return self.state in lifecycle.FINAL

    @property
    def is_unsent(self) -> bool:
        """Whether no send of it has begun to leave: the broker cannot have it."""
        return self.sends == 0 and self.state in (lifecycle.PLANNED, lifecycle.SENDING)

    @property
    def reach(self) -> Decimal:
        """The limit (rupees per unit) that crosses most among those at which it may rest: its
        price and those of changes that may have been applied."""
        prices = [self.price, *(change.price for change in self.changes if change.is_open)]
        return max(prices) if self.side is Side.BUY else min(prices)

    @property
    def unreported(self) -> int:
        """Signed units that this order may have traded, or may still trade, beyond its fills."""
        rest = self.quantity - self.filled_quantity
        if self.state in lifecycle.UNREPORTED or self.out_of_sight:
            return rest * self.side.sign
        return self.adrift * self.side.sign

    @property
    def adrift(self) -> int:
        """Units that its resting orders may still fill although it is final: it was given up and
        turned up, or was sent twice. These orders are being cancelled."""
        if not self.strays or not self.is_final:
            return 0
        return self.quantity - (0 if self.state == lifecycle.FILLED else self.filled_quantity)

    @property
    def traded(self) -> int:
        """Units that this intent's orders traded, duplicates included."""
        return self.filled_quantity + self.surplus_quantity

    @property
    def signed_fill(self) -> int:
        """Units that this intent's orders added to the position (sells negative)."""
        return self.traded * self.side.sign


@dataclass(slots=True)
class LiveRun:
    """One run with its pinned strategy, resolved legs and decisions.

    ``closes_at`` is the close of the day's session, after which no exit is sent; None: not known.
    """

    id: int
    public_id: str
    template_id: int
    template_public_id: str
    strategy: StrategySpec
    trade_date: dt.date
    entry_at: dt.datetime
    exit_at: dt.datetime
    grace_until: dt.datetime
    status: str
    resolved: dict[str, ResolvedLeg] = field(default_factory=dict)
    leg_exits: dict[str, str] = field(default_factory=dict)
    run_exit: str = ""
    watches: dict[str, Watch] = field(default_factory=dict)
    closes_at: dt.datetime | None = None
    # leg -> when it had its newest usable price (monotonic seconds)
    priced_mono: dict[str, float] = field(default_factory=dict)
    # Unix seconds, for the check before every single send
    entry_unix: float = field(init=False)
    grace_unix: float = field(init=False)
    closes_unix: float = field(init=False)

    def __post_init__(self) -> None:
        self.closes_unix = math.inf if self.closes_at is None else self.closes_at.timestamp()
        self.entry_unix = self.entry_at.timestamp()
        self.grace_unix = self.grace_until.timestamp()


@dataclass(slots=True)
class LiveExecution:
    """One subscriber's part in a run."""

    id: int
    public_id: str
    run: LiveRun
    partner_id: int | None
    environment: str
    subscription_id: int
    subscription_public_id: str
    customer_email: str
    customer_external_id: str
    allocation_id: int
    account_id: int
    broker: str
    client_id: str
    shard: int
    status: str
    lot_multiplier: Decimal
    priority: int
    max_lots_per_order: int | None
    #: When it took its size, priority and lots per order from its allocation.
    armed_at: dt.datetime
    exit_reason: str = ""
    cause: str = ""
    message: str = ""
    # alarms that were raised and whose fact is not over: they are not raised again
    alarms: set[Key] = field(default_factory=set)
    # leg ('': the whole execution) -> since when it should have exited (monotonic seconds)
    waits: dict[str, float] = field(default_factory=dict)
    # leg -> signed units that somebody else closed: already deducted from our position, for
    # I5 (never more than planned or held)
    closed_outside: dict[str, int] = field(default_factory=dict)
    # volatile: legs whose escalated or out-of-sight entry has filled nothing, by the positions
    cleared: set[str] = field(default_factory=set)
    intents: list[LiveIntent] = field(default_factory=list)
    real: RealAccount = field(init=False)

    def __post_init__(self) -> None:
        self.real = RealAccount(self.environment, self.broker, self.client_id)

    def of(self, purpose: str) -> Iterator[LiveIntent]:
        """Intents of one purpose."""
        return (intent for intent in self.intents if intent.purpose == purpose)

    def open_quantity(self, leg_key: str) -> int:
        """Open units of a leg: positive long, negative short."""
        return self.open_legs().get(leg_key, 0)

    def traded_legs(self) -> dict[str, int]:
        """Signed units by leg: known fills, less what somebody else closed."""
        totals: dict[str, int] = dict(self.closed_outside)
        for intent in self.intents:
            if intent.traded:
                totals[intent.leg_key] = totals.get(intent.leg_key, 0) + intent.signed_fill
        return totals

    def open_legs(self) -> dict[str, int]:
        """Signed open units of every leg that is not flat.

        If an exit has closed what no entry is known to have filled (the positions showed it), the
        leg is flat, not turned over: the unreported entry has filled.
        """
        totals = self.traded_legs()
        for leg_key, coming in self.coming().items():
            held = totals.get(leg_key, 0)
            if held * coming < 0:
                totals[leg_key] = 0 if abs(held) <= abs(coming) else held + coming
        return {leg: quantity for leg, quantity in totals.items() if quantity}

    def coming(self) -> dict[str, int]:
        """Signed units by leg that entries may have added unreported, or may still add.

        Not those of entries that have filled nothing by the positions.
        """
        totals: dict[str, int] = {}
        for intent in self.intents:
            if (
                intent.purpose == lifecycle.ENTRY
                and intent.unreported
                and not self.is_cleared(intent)
            ):
                totals[intent.leg_key] = totals.get(intent.leg_key, 0) + intent.unreported
        return totals

    def is_cleared(self, intent: LiveIntent) -> bool:
        """Whether the positions have shown that this entry, which the book will not report, has
        filled nothing."""
        lost = intent.state == lifecycle.ESCALATED or intent.out_of_sight
        return lost and intent.leg_key in self.cleared

    def has_something_open(self) -> bool:
        """Whether the broker has, or may have, a position or a resting order of ours."""
        return bool(self.open_legs()) or any(
            intent.state in lifecycle.MAY_REST for intent in self.intents
        )

    def profit(self) -> Decimal | None:
        """Rupees gained, once flat. None if somebody else closed a part or an entry's fill was
        never reported: the price is unknown, and an unknown profit is better than a wrong one."""
        unpriced = self.closed_outside or any(self.traded_legs().values())
        return None if unpriced else self.realised_pnl()

    def realised_pnl(self) -> Decimal:
        """Rupees gained over all fills; meaningful once flat."""
        total = sum(
            (
                -intent.side.sign
                * (
                    intent.filled_quantity * intent.average_price
                    + intent.surplus_quantity * intent.surplus_price
                )
                for intent in self.intents
            ),
            Decimal(0),
        )
        return total.quantize(Decimal("0.01"))
