"""What the broker's positions and order book show for one contract, beside what we track. Pure.

Computes the input of :func:`execution.exit_limits.share`, and how long the witnesses have agreed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from brokers.base import BookState, BrokerInstrument, NetPosition, OrderReport, Product, Side
from execution.exit_limits import Grant, Tracked, Witnesses, share
from execution.state import LiveExecution, LiveIntent
from execution.tags import parse_tag
from execution.unreported import lost_units

#: A difference between the positions and our fills is believed if this many reads in a row, over
#: this many seconds, have shown it. Positions three seconds behind the fills were observed.
BELIEVED_READS: Final = 3
BELIEVED_AFTER: Final = 5.0
#: Seconds after which a read no longer continues a row: without reads there is no evidence.
ROW_ENDS: Final = 10.0

Leg = tuple[int, str]


@dataclass(slots=True)
class _Said:
    """A reading that is being confirmed: net units, our fills then, since when, how often."""

    net: int
    ours: int
    book: int | None
    since: float
    last: float
    reads: int = 1


class Settling:
    """Remembers, by place (an account's contract), since when the witnesses show the same."""

    def __init__(self) -> None:
        self._said: dict[Hashable, _Said] = {}

    def settled(
        self, place: Hashable, *, net: int | None, ours: int, book: int | None, now: float
    ) -> bool:
        """Whether the positions have shown ``net`` for long enough while our fills and the order
        book stayed the same. ``now``: monotonic seconds. An unread book counts as unchanged."""
        if net is None:
            return False
        reading = self._said.get(place)
        same = (
            reading is not None
            and (reading.net, reading.ours) == (net, ours)
            and (book is None or reading.book in (None, book))
            and now - reading.last <= ROW_ENDS
        )
        if reading is None or not same:
            self._said[place] = _Said(net, ours, book, now, now)
            return False
        reading.book = reading.book if book is None else book
        reading.reads, reading.last = reading.reads + 1, now
        return reading.reads >= BELIEVED_READS and now - reading.since >= BELIEVED_AFTER


def grants(
    executions: Sequence[LiveExecution],
    contract_id: int,
    *,
    positions: int | None,
    book: int | None,
    settling: Settling,
    place: Hashable,
    now: float,
    without: Collection[str] = (),
) -> dict[Leg, Grant | None]:
    """What every leg of ``executions`` in a contract may close now; None: wait and read again.

    ``executions`` are all open ones of one real account, ``positions`` and ``book`` the net units
    that its broker shows (None: not read), ``now`` monotonic seconds. ``without``: codes of orders
    to treat as if they were not under way, because the request is about them.
    """
    legs = [
        (execution, leg_key)
        for execution in sorted(executions, key=lambda e: e.id)
        for leg_key, leg in execution.run.resolved.items()
        if leg.contract_id == contract_id
    ]
    tracked = [tracked_leg(number, *leg, now, without) for number, leg in enumerate(legs)]
    settled = settling.settled(
        place, net=positions, ours=sum(leg.quantity for leg in tracked), book=book, now=now
    )
    shared = share(tracked, Witnesses(positions, book, settled))
    return {
        (execution.id, leg_key): shared[number] for number, (execution, leg_key) in enumerate(legs)
    }


def tracked_leg(
    key: int, execution: LiveExecution, leg_key: str, now: float, without: Collection[str] = ()
) -> Tracked:
    """One leg as input of :func:`execution.exit_limits.share`, at ``now`` (monotonic seconds)."""
    orders = [
        intent
        for intent in execution.intents
        if intent.leg_key == leg_key and intent.code not in without
    ]
    unreported = [intent.unreported for intent in orders if not execution.is_cleared(intent)]
    lost = [lost_units(intent, now) for intent in orders]
    held = execution.open_quantity(leg_key)
    side = next(leg.side for leg in execution.run.strategy.legs if leg.key == leg_key)
    return Tracked(
        key=key,
        quantity=held,
        sign=Side(side).sign,
        buying=sum(units for units in unreported if units > 0),
        selling=-sum(units for units in unreported if units < 0),
        over=execution.traded_legs().get(leg_key, 0) - held,
        lost_buying=sum(units for units in lost if units > 0),
        lost_selling=-sum(units for units in lost if units < 0),
    )


def net_of_positions(positions: Sequence[NetPosition], name: BrokerInstrument) -> int:
    """Net units of a contract in our product. A contract that is not listed is flat."""
    return sum(
        position.quantity
        for position in positions
        if position.symbol == name.symbol
        and position.exchange in ("", name.exchange)
        and position.product in (None, Product.INTRADAY)
    )


def net_of_orders(
    orders: Sequence[OrderReport], name: BrokerInstrument, intents: Iterable[LiveIntent] = ()
) -> int | None:
    """Net units of a contract by all fills of the day in our product; None: an order is unclear.

    Intraday positions begin at zero, so the day's fills are the position. ``intents``, our own
    orders in the contract, count as they are known now: what one strategy has exited since the book
    was read must not look like somebody else's trade against another strategy.
    """
    fills: dict[str, tuple[str, int]] = {}
    for order in orders:
        if order.symbol != name.symbol or order.exchange not in ("", name.exchange):
            continue
        if order.product not in (None, Product.INTRADAY):
            continue
        if order.state is BookState.OTHER:
            return None  # a row that could not be read: its fills are unknown
        if not order.filled_quantity:
            continue
        if order.side is None:
            return None
        tag = parse_tag(order.tag)
        units = order.filled_quantity * order.side.sign
        fills[order.broker_order_id] = "" if tag is None else tag.code, units
    listed: dict[str, int] = defaultdict(int)
    for code, units in fills.values():
        listed[code] += units
    net = 0
    for intent in intents:
        if intent.code in listed:
            net += max(listed.pop(intent.code), intent.signed_fill, key=abs)
        elif intent.sent_mono:  # reported otherwise, and sent by this process
            net += intent.signed_fill
    return net + sum(listed.values())
