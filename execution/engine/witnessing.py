"""How much of a leg may be closed now: asks the account's own broker, twice over (I5).

The list of positions and the order book are read side by side; :func:`execution.exits.believed_net`
says what to make of them. Who has no answer to act upon waits here for nobody: the exit is asked
for again in the next round, and after seconds a person is told.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

from brokers.base import BookState, BrokerInstrument, NetPosition, OrderReport, Product
from brokers.realaccount import RealAccount
from execution.alarms import NO_WITNESS
from execution.engine.actors import Actor
from execution.exits import Tracked, Witnesses, believed_net, exit_quantities
from execution.live import LiveExecution
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

#: A difference between the positions and our fills is believed when so many reads in a row over
#: so many seconds have shown the same one. Positions were seen three seconds behind the fills.
BELIEVED_READS: Final = 3
BELIEVED_AFTER: Final = 5.0
#: An exit that has had no witness for so long raises an alarm.
ALARM_AFTER: Final = 3.0

#: Seconds for which the prices in a list of positions are those of now.
HEARD_WITHIN: Final = 5.0

#: Seconds by which one witness may answer later than the other and still be heard.
SECOND_WITNESS: Final = 1.0

Leg = tuple[int, str]
T = TypeVar("T")


@dataclass(slots=True)
class _Doubt:
    """A difference as it was first seen: units, fills of ours by then, since when, how often."""

    net: int
    ours: int
    since: float
    reads: int = 1


class WitnessDesk:
    """Remembers of each real account and contract since when something does not fit."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._doubts: dict[tuple[RealAccount, int], _Doubt] = {}
        self._waiting: dict[Leg, float] = {}
        self._last_prices: dict[tuple[RealAccount, int], tuple[Decimal, float]] = {}
        self._reads: dict[tuple[str, RealAccount], asyncio.Task[Any]] = {}

    async def allowed(self, actor: Actor, legs: Mapping[Leg, int]) -> dict[Leg, int | None]:
        """Units that each leg may close; None: nobody knows yet. ``legs``: their contracts."""
        poller = self._executor.poller
        read = self._begin("positions", actor, poller.positions)
        book = self._begin("book", actor, poller.orders)
        await self._heard({read, book})
        found, orders = _answer(read), _answer(book)
        positions = found.positions if found is not None and found.ok else None
        allowed: dict[Leg, int | None] = {}
        for contract_id in set(legs.values()):
            shared = self._share(actor, contract_id, positions, orders)
            for leg, contract in legs.items():
                if contract == contract_id:
                    allowed[leg] = None if shared is None else shared.get(leg, 0)
        self._alarm(allowed)
        return allowed

    def _begin(
        self, what: str, actor: Actor, ask: Callable[[Actor], Awaitable[T]]
    ) -> asyncio.Task[T]:
        """The read under way, or a new one: a broker that hangs is not asked more and more."""
        key = what, actor.real
        task = self._reads.get(key)
        if task is None:
            task = asyncio.ensure_future(ask(actor))
            self._reads[key] = task
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        return task

    @staticmethod
    async def _heard(reads: set[asyncio.Task[Any]]) -> None:
        """Wait for both; not for the second one much longer where the first has answered."""
        await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(reads, timeout=SECOND_WITNESS)
        if all(_answer(read) is None for read in reads):
            await asyncio.wait(reads)

    def _share(
        self,
        actor: Actor,
        contract_id: int,
        positions: Sequence[NetPosition] | None,
        orders: Sequence[OrderReport] | None,
    ) -> dict[Leg, int] | None:
        # Of all rows that stand for this account: the broker's net is that of all together.
        mine = list(actor.executions.values())
        if not mine:
            return {}  # over since we asked
        legs = _tracked(mine, contract_id)
        tracked = [Tracked(number, held) for number, (_, held) in enumerate(legs)]
        name = self._executor.accounts.instrument(actor.real.broker, contract_id)
        ours = sum(one.quantity for one in tracked)
        net = None if positions is None or name is None else net_of_positions(positions, name)
        if positions is not None and name is not None:
            self._note_last_price((actor.real, contract_id), positions, name)
        witnesses = Witnesses(
            positions=net,
            book=None if orders is None or name is None else net_of_orders(orders, name),
            settled=self._is_settled((actor.real, contract_id), net, ours),
        )
        believed = believed_net(ours, witnesses)
        if believed is None:
            return None
        return {legs[key][0]: units for key, units in exit_quantities(tracked, believed).items()}

    def _note_last_price(
        self,
        place: tuple[RealAccount, int],
        positions: Sequence[NetPosition],
        name: BrokerInstrument,
    ) -> None:
        for position in positions:
            if position.symbol == name.symbol and position.last_price is not None:
                self._last_prices[place] = position.last_price, clock.monotonic()

    def last_price(self, actor: Actor, contract_id: int) -> Decimal | None:
        """What the list of positions gave as the last price, if it was read a moment ago."""
        price, at = self._last_prices.get((actor.real, contract_id), (None, 0.0))
        return price if clock.monotonic() - at <= HEARD_WITHIN else None

    def _is_settled(self, place: tuple[RealAccount, int], net: int | None, ours: int) -> bool:
        """Whether the positions have shown this very difference for long enough."""
        now = clock.monotonic()
        doubt = self._doubts.get(place)
        if net is None:
            return False
        if net == ours:
            self._doubts.pop(place, None)
            return False
        if doubt is None or (doubt.net, doubt.ours) != (net, ours):
            self._doubts[place] = _Doubt(net, ours, now)
            return False
        doubt.reads += 1
        return doubt.reads >= BELIEVED_READS and now - doubt.since >= BELIEVED_AFTER

    def _alarm(self, allowed: Mapping[Leg, int | None]) -> None:
        now = clock.monotonic()
        for leg, units in allowed.items():
            execution_id, leg_key = leg
            if units is not None:
                self._waiting.pop(leg, None)
                fact = "the broker has answered"
                self._executor.rounds.calm(execution_id, NO_WITNESS, leg=leg_key, fact=fact)
            elif now - self._waiting.setdefault(leg, now) >= ALARM_AFTER:
                self._executor.rounds.alarm(execution_id, NO_WITNESS, leg=leg_key)


def _answer(read: asyncio.Task[T | None]) -> T | None:
    """What a read has brought; None while it is under way, and where it failed."""
    if not read.done() or read.cancelled() or read.exception() is not None:
        return None
    return read.result()


def _tracked(mine: Sequence[LiveExecution], contract_id: int) -> list[tuple[Leg, int]]:
    """Every leg of ``mine`` in a contract, oldest execution first, with the units that it holds."""
    return [
        ((execution.id, leg_key), execution.open_quantity(leg_key))
        for execution in sorted(mine, key=lambda one: one.id)
        for leg_key, leg in execution.run.resolved.items()
        if leg.contract_id == contract_id
    ]


def net_of_positions(positions: Sequence[NetPosition], name: BrokerInstrument) -> int:
    """Net units of a contract in our product. A contract that is not listed is flat."""
    return sum(
        position.quantity
        for position in positions
        if position.symbol == name.symbol
        and position.exchange in ("", name.exchange)
        and position.product in (None, Product.INTRADAY)
    )


def net_of_orders(orders: Sequence[OrderReport], name: BrokerInstrument) -> int | None:
    """Net units of a contract by all fills of the day in our product; None: an order is unclear.

    Intraday positions begin at zero, so that the day's fills are the position.
    """
    fills: dict[str, int] = defaultdict(int)
    for order in orders:
        if order.symbol != name.symbol or order.exchange not in ("", name.exchange):
            continue
        if order.product not in (None, Product.INTRADAY):
            continue
        if order.state is BookState.OTHER:
            return None  # a row that could not be read: nobody knows what it has filled
        if not order.filled_quantity:
            continue
        if order.side is None:
            return None
        fills[order.broker_order_id] = order.filled_quantity * order.side.sign
    return sum(fills.values())
