"""Sends the first orders of a committed entry at its second, from their queues to the last byte.

They were committed and serialised before. Nothing is awaited between the last check of an order and
its first byte, and as little as possible is checked (docs/adr/0010).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from execution import lifecycle
from execution.causes import SESSION_EXPIRED
from execution.engine.database.entry_writer import EntryPlan
from execution.engine.entries.rotation import rotated
from execution.engine.memory.channels import Channels
from execution.engine.memory.trading_day import TradingDay
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.orders.sender import OrderSender
from execution.engine.runtime import quiet_window
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import Channel, Shot
from execution.state import LiveRun
from quantleap.core import clock

SPIN: Final = 0.002
#: Most seconds to aim one account's first order.
AIM_EACH: Final = 0.00002
#: Seconds before T until which garbage may be collected, and as many more for each execution held.
COLLECT: Final = 0.5
COLLECT_EACH: Final = 0.0002
AFTERMATH: Final = 0.25
#: One account in this many may have orders left when the quiet window ends.
LAST_FEW: Final = 20
STEP_LIMIT: Final = 0.05


class Burst:
    """Loads, aims and fires. Used in the loop's thread only."""

    def __init__(
        self,
        day: TradingDay,
        quiet: QuietWindow,
        channels: Channels,
        sender: OrderSender,
        self_trades: SelfTrades,
    ) -> None:
        self._day = day
        self._quiet = quiet
        self._channels = channels
        self._sender = sender
        self._self_trades = self_trades

    def deadline(self, run: LiveRun) -> float:
        """T on the monotonic clock. The wall clock is read first, so a delay between the two reads
        can only make the deadline later, never earlier."""
        wall = clock.timestamp()
        return clock.monotonic() + max(0.0, run.entry_at.timestamp() - wall)

    def load(self, committed: Sequence[EntryPlan]) -> list[Channel]:
        """Load the first group of every account that starts at T into its channel; return the
        channels in today's rotation. Executions in the entry queue have nothing to send yet."""
        channels = self._channels.by_account
        loaded: dict[int, Channel] = {}
        for plan in rotated(committed):
            channel = channels.get(plan.execution.account_id)
            if channel is None:
                self._cannot_send(plan)
                continue
            for intent in plan.intents:
                if intent.state == lifecycle.SENDING:
                    loaded[channel.account_id] = channel
                    channel.load(intent)
        return list(loaded.values())

    def _cannot_send(self, plan: EntryPlan) -> None:
        """The session was lost between planning and commit: end its orders with a cause, instead of
        leaving them SENDING for ever."""
        cause = self._channels.problems.get(plan.execution.account_id, "")
        for intent in plan.intents:
            self._sender.on_not_sent(intent, cause or SESSION_EXPIRED)

    async def wait_for(
        self, run: LiveRun, deadline: float, channels: Sequence[Channel]
    ) -> list[Shot]:
        """Return at T with the first order of every account that may leave then."""
        if deadline - clock.monotonic() > COLLECT + COLLECT_EACH * len(self._day.executions):
            self._quiet.collect()
        await self._sleep_to(deadline - quiet_window.LEAD)
        self._quiet.begin(run.id)
        await self._sleep_to(deadline - SPIN - AIM_EACH * len(channels))
        # From here to the last byte the loop runs nothing else, so what was checked stays valid,
        # except for the clock and the kill switch. It also stays in the processor's caches:
        # otherwise a thousand orders wait longer for memory than for the broker.
        is_alone = self._self_trades.is_alone
        shots = [s for channel in channels if (s := channel.aim(run)) and is_alone(s.intent)]
        while clock.monotonic() < deadline:
            pass
        self._wait_for_wall(run)
        return shots

    def _wait_for_wall(self, run: LiveRun) -> None:
        """Never send before T by the wall clock either, unless it was stepped (STEP_LIMIT)."""
        while 0 < run.entry_unix - clock.timestamp() < STEP_LIMIT:
            pass

    def fire(self, shots: Sequence[Shot]) -> None:
        """Send the shots that still may leave; the channel checks the others again, and sends them
        or reports a cause."""
        why_no_longer = self._sender.why_no_longer
        for shot in shots:
            now = clock.monotonic()
            if not why_no_longer(shot.intent, shot.run, now):
                shot.channel.shoot(shot, now)

    @staticmethod
    async def _sleep_to(mono: float) -> None:
        wait = mono - clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    @staticmethod
    async def until_nearly_all_left(channels: Sequence[Channel], deadline: float) -> None:
        """Wait a moment longer for accounts with more orders than connections, whose orders leave
        as answers arrive; not for orders held back by pacing, for accounts without a connection, or
        for the last few. Observed: one hanging account delayed the next steps of two hundred others
        by a quarter of a second."""
        few = len(channels) // LAST_FEW
        while clock.monotonic() < deadline + AFTERMATH:
            if sum(channel.is_waiting and channel.is_connected for channel in channels) <= few:
                return
            await asyncio.sleep(AFTERMATH / 50)
