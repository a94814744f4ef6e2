"""How much of a leg may be closed now, by two reads from the account's own broker.

Without a witness nothing is closed: I5 (never more than planned or held).

The list of positions and the order book are read in parallel; :func:`execution.exit_limits.share`
evaluates them. An exit without a usable answer does not wait here: it is requested again in the
next round, and after seconds an alarm is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar

from brokers.base import BrokerInstrument, NetPosition, OrderReport
from brokers.real_account import RealAccount
from execution.alarms import NO_WITNESS
from execution.engine.books.book_reader import BookReader
from execution.engine.memory.actors import Actor
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.contract_names import ContractNames
from execution.exit_limits import Grant
from execution.state import LiveIntent
from execution.witnesses import Leg, Settling, grants, net_of_orders, net_of_positions
from quantleap.core import clock

#: Seconds without a witness after which an exit raises an alarm.
ALARM_AFTER: Final = 3.0

#: Seconds for which the prices in a list of positions count as current.
HEARD_WITHIN: Final = 5.0

#: Seconds to wait for the second witness after the first has answered.
SECOND_WITNESS: Final = 1.0

T = TypeVar("T")


class WitnessReads:
    """Reads the witnesses, and remembers since when they show the same for each contract."""

    def __init__(self, reader: BookReader, names: ContractNames, work: WorkList) -> None:
        self._reader = reader
        self._names = names
        self._work = work
        self._settling = Settling()
        self._waiting: dict[Leg, float] = {}
        self._last_prices: dict[tuple[RealAccount, int], tuple[Decimal, float]] = {}
        self._reads: dict[tuple[str, RealAccount], asyncio.Task[Any]] = {}

    async def allowed(self, actor: Actor, legs: Mapping[Leg, int]) -> dict[Leg, Grant | None]:
        """What each leg may close; None: not known yet. ``legs``: leg to contract id."""
        positions, orders = await self._look(actor)
        allowed: dict[Leg, Grant | None] = {}
        for contract_id in set(legs.values()):
            shared = self._share(actor, contract_id, positions, orders)
            for leg, contract in legs.items():
                if contract == contract_id:
                    allowed[leg] = shared.get(leg)
        self._alarm(allowed)
        return allowed

    async def held(self, actor: Actor, exits: Sequence[LiveIntent]) -> set[str]:
        """Codes of those resting ``exits`` whose legs still hold what they would close: each would
        be granted if it were requested now."""
        positions, orders = await self._look(actor)
        codes = set()
        for intent in exits:
            shared = self._share(actor, intent.contract_id, positions, orders, intent.code)
            grant = shared.get((intent.execution_id, intent.leg_key))
            rest = intent.quantity - intent.filled_quantity
            if grant is not None and not grant.outside and grant.units >= rest:
                codes.add(intent.code)
        return codes

    async def _look(
        self, actor: Actor
    ) -> tuple[Sequence[NetPosition] | None, Sequence[OrderReport] | None]:
        """Positions and order book, read in parallel; None for one that did not answer."""
        read = self._begin("positions", actor, self._reader.positions)
        book = self._begin("book", actor, self._reader.orders)
        await self._heard({read, book})
        position_read = _answer(read)
        return (
            position_read.positions if position_read is not None and position_read.ok else None
        ), _answer(book)

    def _begin(
        self, what: str, actor: Actor, ask: Callable[[Actor], Awaitable[T]]
    ) -> asyncio.Task[T]:
        """The read under way, or a new one: a hanging broker does not get more and more reads."""
        key = what, actor.real
        task = self._reads.get(key)
        if task is None:
            task = asyncio.ensure_future(ask(actor))
            self._reads[key] = task
            task.add_done_callback(lambda _: self._reads.pop(key, None))
        return task

    @staticmethod
    async def _heard(reads: set[asyncio.Task[Any]]) -> None:
        """Wait for both reads; for the second at most SECOND_WITNESS if the first has answered."""
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
        without: str = "",
    ) -> dict[Leg, Grant | None]:
        """Grants of all legs in a contract. ``without``: code of an order to treat as if it were
        not under way."""
        # All rows of this real account: the broker's net covers all of them.
        executions = list(actor.executions.values())
        if not executions:
            return {}  # over since the read began
        name = self._names.of(actor.real.broker, contract_id)
        if positions is not None and name is not None:
            self._note_last_price((actor.real, contract_id), positions, name)
        known = [intent for intent in actor.intents.values() if intent.contract_id == contract_id]
        return grants(
            executions,
            contract_id,
            positions=None if positions is None or not name else net_of_positions(positions, name),
            book=None if orders is None or name is None else net_of_orders(orders, name, known),
            settling=self._settling,
            # A separate place for ``without``: the same read must not count twice.
            place=(actor.real, contract_id, without),
            now=clock.monotonic(),
            without=(without,) if without else (),
        )

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
        """The last price (rupees) in the list of positions, if it was read a moment ago."""
        price, at = self._last_prices.get((actor.real, contract_id), (None, 0.0))
        return price if clock.monotonic() - at <= HEARD_WITHIN else None

    def _alarm(self, allowed: Mapping[Leg, Grant | None]) -> None:
        now = clock.monotonic()
        for leg, grant in allowed.items():
            execution_id, leg_key = leg
            if grant is not None and (grant.units or grant.outside or grant.cleared):
                self._waiting.pop(leg, None)
                fact = "the broker has answered"
                self._work.calm(execution_id, NO_WITNESS, leg=leg_key, fact=fact)
            elif now - self._waiting.setdefault(leg, now) >= ALARM_AFTER:
                self._work.alarm(execution_id, NO_WITNESS, leg=leg_key)


def _answer(read: asyncio.Task[T | None]) -> T | None:
    """The result of a read; None while it is under way or if it failed."""
    if not read.done() or read.cancelled() or read.exception() is not None:
        return None
    return read.result()
