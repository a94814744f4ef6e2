"""The broker accounts of an executor: reads their rows and opens their sessions.

Organised by our account rows: each has its own session, egress and problems. What rows of the same
real account share is in :mod:`execution.engine.memory.actors`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import structlog

from brokers.base import Session
from brokers.endpoints import endpoints, is_enabled
from brokers.pace import Pacer
from brokers.real_account import RealAccount
from brokers.registry import get_adapter
from brokers.routes import Route
from brokers.selectors import TradingAccount, trading_accounts
from execution.causes import SESSION_EXPIRED
from execution.engine.database.past_calls import past_calls
from execution.engine.memory.channels import Channels
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import CONNECTIONS_PER_ACCOUNT, Channel
from execution.engine.wire.channel_factory import ChannelFactory, keeps_own_book
from execution.pacing import Pacers
from execution.state import LiveExecution
from quantleap.core import clock

log = structlog.get_logger(__name__)

# Codes of brokers.readiness, as causes of ours.
_PROBLEMS: Final = {
    "no_login_today": SESSION_EXPIRED,
    "session_expired": SESSION_EXPIRED,
    "needs_credentials": "NO_CREDENTIALS",
    "credentials_unreadable": "NO_CREDENTIALS",
    "disabled": "ACCOUNT_DISABLED",
    "held": "ACCOUNT_HELD",
    "removed": "REMOVED",
    "removal_requested": "REMOVED",
}


class Accounts:
    """Opens the sessions of accounts and warms up their connections."""

    def __init__(
        self, db: DatabasePool, quiet: QuietWindow, channels: Channels, factory: ChannelFactory
    ) -> None:
        self._db = db
        self._quiet = quiet
        self._channels = channels
        self._factory = factory
        self._routes: dict[int, Route] = {}
        #: By shard: if a shard comes back, counting restarts with what others have sent meanwhile.
        self._pacers: dict[int, Pacers] = defaultdict(Pacers)
        self._warming: dict[Channel, asyncio.Task[None]] = {}

    async def open_for(self, executions: Collection[LiveExecution]) -> None:
        """Find a channel (or a problem) for every account of ``executions`` that lacks one.

        An account that had a problem a moment ago is skipped: an unreachable account costs a query
        every few seconds, not one in every round.
        """
        now = clock.monotonic()
        self._open_own(executions)
        shards = {
            execution.account_id: execution.shard
            for execution in executions
            if self._channels.is_to_be_looked_for(execution.account_id, now)
        }
        if shards:
            await self._read(shards)
            self._channels.raise_alarms(executions)

    async def refresh(self, executions: Iterable[LiveExecution]) -> None:
        """Read the accounts of ``executions`` again: their current sessions, switches and egress.

        Observed: an executor ran overnight, all customers logged in next morning, and the whole
        entry failed with the sessions of the day before.
        """
        self._open_own(executions)
        shards = {
            execution.account_id: execution.shard
            for execution in executions
            if not keeps_own_book(execution.broker)
        }
        if shards:
            await self._read(shards)

    def _open_own(self, executions: Iterable[LiveExecution]) -> None:
        """Open channels for brokers whose book is in this process: it needs no login, and is
        rebuilt from our own rows."""
        for execution in executions:
            if not keeps_own_book(execution.broker):
                continue
            channel = self._channels.by_account.get(execution.account_id)
            if channel is None:
                channel = self._factory.paper(execution)
                self._channels.problems[execution.account_id] = ""
                self._channels.keep(channel)
            channel.restore(execution.intents)

    async def _read(self, shards: Mapping[int, int]) -> None:
        accounts = await self._db.run(trading_accounts, list(shards), clock.now())
        await self._recall(accounts.values(), shards)
        for account_id, shard in shards.items():
            account = accounts.get(account_id)
            self._channels.problems[account_id] = self._problem(account)
            # A disabled account, or one that is being removed, enters nothing; an open position
            # can still be exited.
            session = account.session if account is not None else None
            if account is None or session is None or self._channels.is_dead(account_id, session):
                self._channels.look_later(account_id)
                self._channels.retire(account_id)
                continue
            route = self._route(account)
            if route is None:
                self._channels.look_later(account_id)
            elif not self._is_current(account_id, session, route):
                self._channels.retire(account_id)
                self._channels.keep(
                    self._factory.broker(
                        account,
                        session=session,
                        route=route,
                        shard=shard,
                        pacer=self._pacer(account, shard),
                    )
                )

    async def _recall(self, accounts: Iterable[TradingAccount], shards: Mapping[int, int]) -> None:
        """Count the calls of accounts that any process made before they were held here.

        Otherwise an executor that hands over a shard in the middle of a second may have sent that
        second's ten orders, and the next owner would send ten more.
        """
        new: dict[RealAccount, Pacers] = {}
        for account in accounts:
            pacers = self._pacers[shards[account.account_id]]
            capabilities = get_adapter(account.broker).capabilities
            if account.session is not None and not pacers.knows(capabilities, account.client_id):
                new[account.real] = pacers
        if not new:
            return
        past = await self._db.run(past_calls, list(new), clock.now())
        now = clock.monotonic()
        for real, pacers in new.items():
            calls = [(now - p.age, p.call) for p in past.get(real, ()) for _ in range(p.count)]
            pacers.begin(get_adapter(real.broker).capabilities, real.client_id, calls)

    def _route(self, account: TradingAccount) -> Route | None:
        """The route of all calls of this account: the current one, else the last usable one.

        If a person sets an egress that orders cannot use, or a broker is switched off, no entry
        leaves (``problems``), and open positions are closed by the route that the broker knows.
        None: there has been no usable route since this process started, and an alarm is raised.
        """
        route = _route(account) if is_enabled(account.broker) else None
        if route is not None:
            self._routes[account.account_id] = route
        return route or self._routes.get(account.account_id)

    def _is_current(self, account_id: int, session: Session, route: Route) -> bool:
        """Whether the account's channel matches its current session and route. Its sockets are
        watched, so it is replaced only if one of the two has changed."""
        channel = self._channels.by_account.get(account_id)
        return channel is not None and channel.session == session and channel.route == route

    def _problem(self, account: TradingAccount | None) -> str:
        if account is None:
            return "REMOVED"
        if account.problem or account.session is None:
            return _PROBLEMS.get(account.problem, SESSION_EXPIRED)
        if self._channels.is_dead(account.account_id, account.session):
            return SESSION_EXPIRED
        if not is_enabled(account.broker):
            return "BROKER_NOT_ENABLED"
        return "" if _route(account) is not None else "EGRESS"

    def _pacer(self, account: TradingAccount, shard: int) -> Pacer:
        """The pacer of the account's calls: one per real account, shared by all its rows."""
        return self._pacers[shard].of(get_adapter(account.broker).capabilities, account.client_id)

    def warm_up(self, account_ids: Iterable[int]) -> None:
        """Start opening connections of accounts ahead of T, without waiting for them.

        If an account is not connected at T, its own channel connects it or reports NotConnected.
        Every account gets its first connection before any gets a second one.
        """
        for account_id in account_ids:
            channel = self._channels.by_account.get(account_id)
            if channel is None or channel in self._warming:
                continue
            task = self._warming[channel] = asyncio.create_task(self._warm(channel))
            task.add_done_callback(functools.partial(self._warmed, channel))

    def _warmed(self, channel: Channel, _task: asyncio.Task[None]) -> None:
        self._warming.pop(channel, None)

    async def _warm(self, channel: Channel) -> None:
        for connections in range(1, CONNECTIONS_PER_ACCOUNT + 1):
            await self._quiet.over()  # no handshake begins while orders leave
            if not await channel.warm_up(connections):
                return

    def drop_shard(self, shard: int) -> None:
        """Close the channels of a shard that is no longer ours, and forget its call counts."""
        self._channels.drop_shard(shard)
        self._pacers.pop(shard, None)

    def close(self) -> None:
        """Close every channel and stop warming up."""
        for task in self._warming.values():
            task.cancel()
        self._channels.close()


def _route(account: TradingAccount) -> Route | None:
    """The route of all calls of this account; None if orders cannot use it (through a proxy)."""
    try:
        route = Route.of(endpoints(account.broker).api, account.egress)
    except ValueError:
        return None
    return None if route.proxy else route
