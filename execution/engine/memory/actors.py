"""One actor per real broker account: everything the executor holds of it, in one place.

The broker knows one account where we may have several rows: the same person at two partners, or
two strategies in one row. Its executions, orders and book reads are therefore kept by the real
account (:mod:`brokers.real_account`); each row of ours adds a session and a route for its orders
(a :class:`~execution.engine.wire.channel.Channel`). All rows of a real account have the same shard,
so no other process holds any part of it (docs/adr/0038).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from brokers.real_account import RealAccount
from execution.engine.wire.channel import Channel
from execution.state import LiveExecution, LiveIntent
from quantleap.core import clock

#: Seconds that an account rests for each second that its broker's answer took to parse, and the
#: maximum: a broker with huge answers gets a twentieth of a core.
RESTS: Final = 20.0
LONGEST_REST: Final = 5.0


class Actor:
    """What an executor holds of one real account. Used in the loop's thread only."""

    def __init__(self, real: RealAccount) -> None:
        self.real = real
        #: Live sessions by our account row; an order leaves by its own row's session.
        self.channels: dict[int, Channel] = {}
        self.executions: dict[int, LiveExecution] = {}
        #: Every order of the executions by its code, for all rows.
        self.intents: dict[str, LiveIntent] = {}
        self._working: dict[int, dict[str, LiveIntent]] = {}
        # state of its book reads, managed by the poller
        self.next_read_mono = 0.0
        self.reads = 0
        self.reading = False
        #: When its newest successful book read began (monotonic seconds); None: there was none.
        self.read_mono: float | None = None
        self._rests_until = 0.0

    async def rested(self) -> None:
        """Return when the account may be read again after an expensive answer."""
        wait = self._rests_until - clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def worked(self, seconds: float) -> None:
        """Note the CPU seconds of parsing an answer: no account exceeds its share of a core."""
        self._rests_until = clock.monotonic() + min(LONGEST_REST, RESTS * seconds)

    def reader(self) -> Channel | None:
        """The session to read the account with: any live one, preferably one that was answered.

        Books and positions are the same in all sessions. None: there is no session.
        """
        return min(
            self.channels.values(),
            key=lambda channel: (channel.unanswered, channel.account_id),
            default=None,
        )

    def changer(self, account_id: int) -> Channel | None:
        """The session to cancel or change an order with: its own row's, else any live one."""
        return self.channels.get(account_id) or self.reader()

    def hold(self, intent: LiveIntent) -> None:
        """Hold an order; while it is unfinished, index it by contract too."""
        self.intents[intent.code] = intent
        if not intent.is_final:
            self._working.setdefault(intent.contract_id, {})[intent.code] = intent

    def drop(self, execution: LiveExecution) -> None:
        """Drop an execution and its orders."""
        self.executions.pop(execution.id, None)
        for intent in execution.intents:
            self.intents.pop(intent.code, None)
            self._working.get(intent.contract_id, {}).pop(intent.code, None)

    def beside(self, intent: LiveIntent) -> Iterable[LiveIntent]:
        """Other unfinished orders in the contract of ``intent``; cheap if there are none."""
        held = self._working.get(intent.contract_id)
        if held is None or (len(held) == 1 and intent.code in held):
            return ()
        for code in [code for code, other in held.items() if other.is_final]:
            del held[code]
        return [other for other in held.values() if other is not intent]


class Actors:
    """The actors of an executor, by real account and by our account rows."""

    def __init__(self) -> None:
        self._actors: dict[RealAccount, Actor] = {}
        self._by_row: dict[int, Actor] = {}

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors.values())

    def of(self, real: RealAccount, account_id: int) -> Actor:
        """The actor of a real account, created if missing and linked to our row ``account_id``."""
        actor = self._actors.get(real)
        if actor is None:
            actor = self._actors[real] = Actor(real)
        self._by_row[account_id] = actor
        return actor

    def at(self, account_id: int) -> Actor | None:
        """The actor of one of our account rows; None if nothing of it is held."""
        return self._by_row.get(account_id)
