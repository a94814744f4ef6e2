"""The sessions that orders leave by: a channel for each account's row, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import structlog

from brokers.base import Session
from execution.alarms import SESSION_EXPIRED, UNREACHABLE
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.wire.channel import Channel
from execution.state import LiveExecution, LiveIntent
from quantleap.core import clock

log = structlog.get_logger(__name__)
#: Seconds until an account without a usable session is looked at again.
LOOK_AGAIN: Final = 3.0
#: Seconds until a session that the broker refused is tried once more: it may have been mistaken.
DEAD_FOR: Final = 60.0


class Sessions:
    """Channels by account, opened by :class:`~execution.engine.orders.accounts.Accounts`."""

    def __init__(self, day: TradingDay, work: WorkList) -> None:
        self._day = day
        self._work = work
        self.channels: dict[int, Channel] = {}
        #: Why an account enters nothing; '' where it does. It may have a channel all the same.
        self.problems: dict[int, str] = {}
        self._look_again: dict[int, float] = {}
        self._dead: dict[int, tuple[str, float]] = {}
        self._retired: list[Channel] = []

    # -- asking ----------------------------------------------------------------------------------
    def submit(self, execution: LiveExecution, intent: LiveIntent) -> bool:
        """Hand a committed order to its account's channel; False when there is none."""
        channel = self.channels.get(execution.account_id)
        if channel is None:
            return False
        channel.submit(intent)
        return True

    def is_to_be_looked_for(self, account_id: int, now_mono: float) -> bool:
        """Whether an account has no channel, and was not looked at in vain a moment ago."""
        return account_id not in self.channels and now_mono >= self._look_again.get(account_id, 0.0)

    def is_dead(self, account_id: int, session: Session) -> bool:
        """Whether the broker has refused this very session before."""
        token, until = self._dead.get(account_id, ("", 0.0))
        return token == session.access_token and clock.monotonic() < until

    def tell(self, executions: Iterable[LiveExecution]) -> None:
        """Ask for a person where something is at the broker and its account cannot be reached."""
        for execution in executions:
            problem = self.problems.get(execution.account_id, "")
            # A disabled account with a living session is left all the same.
            cause = problem if problem in UNREACHABLE else SESSION_EXPIRED
            if (
                problem
                and execution.account_id not in self.channels
                and execution.has_something_open()
            ):
                self._work.alarm(execution.id, cause)

    # -- opening ---------------------------------------------------------------------------------
    def keep(self, channel: Channel) -> None:
        """Orders of this channel's account leave by it from now on."""
        self.channels[channel.account_id] = channel
        actor = self._day.actors.of(channel.real, channel.account_id)
        actor.channels[channel.account_id] = channel
        for execution in self._day.of_account(channel.account_id):
            for cause in UNREACHABLE:
                self._work.calm(execution.id, cause, fact="the account can be reached again")

    def look_later(self, account_id: int) -> None:
        """Nothing was found for an account: it is not asked about again for a while."""
        self._look_again[account_id] = clock.monotonic() + LOOK_AGAIN

    # -- closing ---------------------------------------------------------------------------------
    def forget(self, account_id: int) -> None:
        """The broker has refused the session: nothing is asked with it again.

        A newer login may be there already, because a broker ends the first session of a day with
        the second: it is looked for at once, and people are told when there is none
        (:meth:`tell`). A later one is found within :data:`LOOK_AGAIN` seconds. Seen: 20,823 reads
        with a dead token; exits 4 s late and an alarm for whoever had logged in again at noon.
        """
        channel = self.channels.get(account_id)
        if channel is None:
            return
        self._dead[account_id] = (channel.session.access_token, clock.monotonic() + DEAD_FOR)
        self.problems[account_id] = "SESSION_EXPIRED"
        self._look_again.pop(account_id, None)
        self.retire(account_id)
        log.info("session_refused", account=account_id)

    def forget_channel(self, channel: Channel) -> None:
        """Its session has ended, unless another one has taken its place meanwhile."""
        if self.channels.get(channel.account_id) is channel:
            self.forget(channel.account_id)

    def retire(self, account_id: int) -> None:
        """No new call through this channel; answers under way are heard."""
        channel = self._let_go(account_id)
        if channel is not None:
            channel.retire()
            self._retired = [one for one in (*self._retired, channel) if one.is_connected]

    def _let_go(self, account_id: int) -> Channel | None:
        channel = self.channels.pop(account_id, None)
        actor = self._day.actors.at(account_id)
        if actor is not None:
            actor.channels.pop(account_id, None)
        return channel

    def drop_shard(self, shard: int) -> None:
        """Close the channels of a shard that is no longer ours."""
        for channel in [c for c in self.channels.values() if c.shard == shard]:
            self._let_go(channel.account_id)
            channel.close()
            self.problems.pop(channel.account_id, None)

    def close(self) -> None:
        """Close every channel, those that were retired too."""
        for channel in list(self.channels.values()):
            self._let_go(channel.account_id)
            channel.close()
        for channel in self._retired:
            channel.close()  # its answer may have been under way
