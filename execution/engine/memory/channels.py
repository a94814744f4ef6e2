"""The channel of each account row, for sending its orders, or the reason why there is none."""

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
#: Seconds until an account without a usable session is checked again.
LOOK_AGAIN: Final = 3.0
#: Seconds until a session that the broker refused is tried again: the broker may have been wrong.
DEAD_FOR: Final = 60.0


class Channels:
    """Channels by account, opened by :class:`~execution.engine.orders.accounts.Accounts`."""

    def __init__(self, day: TradingDay, work: WorkList) -> None:
        self._day = day
        self._work = work
        self.by_account: dict[int, Channel] = {}
        #: Why an account enters nothing; '' if it may enter. It may still have a channel.
        self.problems: dict[int, str] = {}
        self._look_again: dict[int, float] = {}
        self._dead: dict[int, tuple[str, float]] = {}
        self._retired: list[Channel] = []

    # -- reading ---------------------------------------------------------------------------------
    def submit(self, execution: LiveExecution, intent: LiveIntent) -> bool:
        """Pass a committed order to its account's channel; False if there is none."""
        channel = self.by_account.get(execution.account_id)
        if channel is None:
            return False
        channel.submit(intent)
        return True

    def is_to_be_looked_for(self, account_id: int, now_mono: float) -> bool:
        """Whether an account has no channel and no failed check a moment ago."""
        return account_id not in self.by_account and now_mono >= self._look_again.get(
            account_id, 0.0
        )

    def is_dead(self, account_id: int, session: Session) -> bool:
        """Whether the broker has refused this same session recently."""
        token, until = self._dead.get(account_id, ("", 0.0))
        return token == session.access_token and clock.monotonic() < until

    def raise_alarms(self, executions: Iterable[LiveExecution]) -> None:
        """Raise an alarm for each execution that has something open at an unreachable broker."""
        for execution in executions:
            problem = self.problems.get(execution.account_id, "")
            # A disabled account with a live session can still be exited.
            cause = problem if problem in UNREACHABLE else SESSION_EXPIRED
            if (
                problem
                and execution.account_id not in self.by_account
                and execution.has_something_open()
            ):
                self._work.alarm(execution.id, cause)

    # -- opening ---------------------------------------------------------------------------------
    def keep(self, channel: Channel) -> None:
        """Use this channel for its account's orders from now on."""
        self.by_account[channel.account_id] = channel
        actor = self._day.actors.of(channel.real, channel.account_id)
        actor.channels[channel.account_id] = channel
        for execution in self._day.of_account(channel.account_id):
            for cause in UNREACHABLE:
                self._work.calm(execution.id, cause, fact="the account can be reached again")

    def look_later(self, account_id: int) -> None:
        """Do not check an account again for :data:`LOOK_AGAIN` seconds: it has no session."""
        self._look_again[account_id] = clock.monotonic() + LOOK_AGAIN

    # -- closing ---------------------------------------------------------------------------------
    def forget(self, account_id: int) -> None:
        """Stop using a session that the broker has refused.

        A newer login may exist already, because a broker ends the first session of a day with the
        second: it is looked up at once, and without one :meth:`raise_alarms` is called. A later one
        is found within :data:`LOOK_AGAIN` seconds. Observed: 20,823 reads with a dead token;
        exits 4 s late and an alarm for customers who had logged in again at noon.
        """
        channel = self.by_account.get(account_id)
        if channel is None:
            return
        self._dead[account_id] = (channel.session.access_token, clock.monotonic() + DEAD_FOR)
        self.problems[account_id] = SESSION_EXPIRED
        self._look_again.pop(account_id, None)
        self.retire(account_id)
        log.info("session_refused", account=account_id)

    def forget_channel(self, channel: Channel) -> None:
        """Forget the channel's session, unless another one has replaced it meanwhile."""
        if self.by_account.get(channel.account_id) is channel:
            self.forget(channel.account_id)

    def retire(self, account_id: int) -> None:
        """Make no new call through this account's channel; still receive answers under way."""
        channel = self._let_go(account_id)
        if channel is not None:
            channel.retire()
            self._retired = [c for c in (*self._retired, channel) if c.is_connected]

    def _let_go(self, account_id: int) -> Channel | None:
        channel = self.by_account.pop(account_id, None)
        actor = self._day.actors.at(account_id)
        if actor is not None:
            actor.channels.pop(account_id, None)
        return channel

    def drop_shard(self, shard: int) -> None:
        """Close the channels of a shard that is no longer ours."""
        for channel in [c for c in self.by_account.values() if c.shard == shard]:
            self._let_go(channel.account_id)
            channel.close()
            self.problems.pop(channel.account_id, None)

    def close(self) -> None:
        """Close every channel, including retired ones."""
        for channel in list(self.by_account.values()):
            self._let_go(channel.account_id)
            channel.close()
        for channel in self._retired:
            channel.close()  # its answer may have been under way
