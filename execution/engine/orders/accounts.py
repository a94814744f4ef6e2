"""The broker accounts an executor works with: sessions, channels, instrument names.

By our rows: each has a session, an egress and problems of its own. What rows share that stand for
one account at the broker is in :mod:`execution.engine.memory.actors`.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from brokers.base import BrokerInstrument, Session
from brokers.endpoints import endpoints, is_enabled
from brokers.pace import Pacer
from brokers.realaccount import RealAccount
from brokers.registry import get_adapter
from brokers.routes import Route
from brokers.selectors import TradingAccount, instrument_names, trading_accounts
from execution.alarms import SESSION_EXPIRED, UNREACHABLE
from execution.engine.database.past_calls import past_calls
from execution.engine.runtime.call_slots import CONNECTS, CallSlots
from execution.engine.wire.channel import CONNECTIONS_PER_ACCOUNT, Channel
from execution.engine.wire.connection import Deadlines
from execution.engine.wire.paper_channel import PAPER, PaperChannel, paper_instrument
from execution.engine.wire.sockets import kernel_timeout
from execution.live import LiveExecution, LiveIntent
from execution.pacing import Pacers
from marketplace.ports import QUOTES, Need, Quote
from quantleap.core import clock

if TYPE_CHECKING:
    from execution.engine.executor import Executor

log = structlog.get_logger(__name__)
#: Seconds until an account without a usable session is looked at again.
LOOK_AGAIN: Final = 3.0
#: Seconds until a session that the broker refused is tried once more: it may have been mistaken.
DEAD_FOR: Final = 60.0

# Words of brokers.selectors.readiness, as causes of ours.
_PROBLEMS: Final = {
    "no_login_today": "SESSION_EXPIRED",
    "session_expired": "SESSION_EXPIRED",
    "needs_credentials": "NO_CREDENTIALS",
    "credentials_unreadable": "NO_CREDENTIALS",
    "disabled": "ACCOUNT_DISABLED",
    "held": "ACCOUNT_HELD",
    "removed": "REMOVED",
    "removal_requested": "REMOVED",
}


class Accounts:
    """Channels by account, and why an account has none."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.channels: dict[int, Channel] = {}
        self.problems: dict[int, str] = {}
        self._look_again: dict[int, float] = {}
        self._dead: dict[int, tuple[str, float]] = {}
        self._retired: list[Channel] = []
        self._ways: dict[int, Route] = {}
        self._names: dict[str, dict[int, BrokerInstrument]] = {}
        self._deadlines: Deadlines | None = None
        #: By shard: who gets it back counts anew, with what somebody else has sent meanwhile.
        self._pacers: dict[int, Pacers] = defaultdict(Pacers)
        self._places = CallSlots(CONNECTS)
        self._warming: dict[Channel, asyncio.Task[None]] = {}

    async def open_for(self, executions: Collection[LiveExecution]) -> None:
        """Have a channel (or a problem) for every account of ``executions`` that lacks one.

        Who had a problem a moment ago is not asked about again: an account that cannot be reached
        costs a look every few seconds, not one in every round.
        """
        now = clock.monotonic()
        self._open_paper(executions)
        wanted = {
            execution.account_id: execution.shard
            for execution in executions
            if execution.account_id not in self.channels
            and now >= self._look_again.get(execution.account_id, 0.0)
        }
        if wanted:
            await self._read(wanted)
            self.tell(executions)

    async def refresh(self, executions: Iterable[LiveExecution]) -> None:
        """Read the accounts of ``executions`` again: sessions, switches and egress as they are now.

        Seen: an executor lived overnight, everybody logged in next morning, and the whole entry
        failed with the sessions of the day before.
        """
        self._open_paper(executions)
        wanted = {
            execution.account_id: execution.shard
            for execution in executions
            if execution.broker != PAPER
        }
        if wanted:
            await self._read(wanted)

    def _open_paper(self, executions: Iterable[LiveExecution]) -> None:
        """Test accounts need no login: their book is in this process, made of their own rows."""
        for execution in executions:
            if execution.broker != PAPER:
                continue
            channel = self.channels.get(execution.account_id)
            if channel is None:
                channel = self._paper(execution)
                self.problems[execution.account_id] = ""
                self._keep(channel)
            if isinstance(channel, PaperChannel):
                channel.restore(execution.intents)

    def _paper(self, execution: LiveExecution) -> PaperChannel:
        rounds = self._executor.rounds
        loop = asyncio.get_running_loop()
        if self._deadlines is None:
            self._deadlines = Deadlines(loop)
        return PaperChannel(
            account_id=execution.account_id,
            real=execution.real,
            shard=execution.shard,
            quotes=self._feed_quotes,
            loop=loop,
            deadlines=self._deadlines,
            places=self._places,
            may_send=rounds.sending.may_send,
            on_sent=rounds.sending.on_sent,
            on_answer=rounds.sending.on_answer,
            on_not_sent=rounds.sending.on_not_sent,
        )

    async def _feed_quotes(self, contract_ids: Collection[int]) -> Mapping[int, Quote]:
        return await self._executor.feeds.run(
            QUOTES.get().quotes, contract_ids, now=clock.now(), need=Need.RISK
        )

    async def _read(self, shards: Mapping[int, int]) -> None:
        found = await self._executor.db.run(trading_accounts, list(shards), clock.now())
        await self._recall(found.values(), shards)
        for account_id, shard in shards.items():
            account = found.get(account_id)
            self.problems[account_id] = self._problem(account)
            # A disabled account, or one that is being removed, enters nothing; whoever has a
            # position can be exited all the same.
            session = account.session if account is not None else None
            if account is None or session is None or self._is_dead(account_id, session):
                self._look_again[account_id] = clock.monotonic() + LOOK_AGAIN
                self._retire(account_id)
                continue
            way = self._way(account)
            if way is None:
                self._look_again[account_id] = clock.monotonic() + LOOK_AGAIN
            elif not self._is_current(account_id, session, way):
                self._retire(account_id)
                self._keep(self._channel(account, session, way, shard))

    async def _recall(self, found: Iterable[TradingAccount], shards: Mapping[int, int]) -> None:
        """Count what has left of accounts before they were held here, by whomever.

        An executor that handed a shard over in the middle of a second would otherwise have sent
        that second's ten orders, and the next one ten more.
        """
        new: dict[RealAccount, Pacers] = {}
        for account in found:
            pacers = self._pacers[shards[account.account_id]]
            capabilities = get_adapter(account.broker).capabilities
            if account.session is not None and not pacers.knows(capabilities, account.client_id):
                new[account.real] = pacers
        if not new:
            return
        past = await self._executor.db.run(past_calls, list(new), clock.now())
        now = clock.monotonic()
        for real, pacers in new.items():
            calls = [
                (now - one.age, one.call) for one in past.get(real, ()) for _ in range(one.count)
            ]
            pacers.begin(get_adapter(real.broker).capabilities, real.client_id, calls)

    def _keep(self, channel: Channel) -> None:
        self.channels[channel.account_id] = channel
        actor = self._executor.actors.of(channel.real, channel.account_id)
        actor.channels[channel.account_id] = channel
        for execution in self._executor.of_account(channel.account_id):
            for cause in UNREACHABLE:
                self._executor.rounds.calm(
                    execution.id, cause, fact="the account can be reached again"
                )

    def _way(self, account: TradingAccount) -> Route | None:
        """How everything of this account leaves: as it says now, else as it last could.

        Somebody sets an egress that orders cannot take, or a broker is switched off: no entry
        leaves (``problems``), and what is open is closed by the way that the broker knows. None:
        there has been no such way since this process began, and a person is told.
        """
        route = _route(account) if is_enabled(account.broker) else None
        if route is not None:
            self._ways[account.account_id] = route
        return route or self._ways.get(account.account_id)

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
                self._executor.rounds.alarm(execution.id, cause)

    def _is_dead(self, account_id: int, session: Session) -> bool:
        """Whether the broker has refused this very session before."""
        token, until = self._dead.get(account_id, ("", 0.0))
        return token == session.access_token and clock.monotonic() < until

    def _is_current(self, account_id: int, session: Session, way: Route) -> bool:
        """Whether the account's channel is as the account is now: its sockets are watched, so it
        is replaced only where something has changed."""
        channel = self.channels.get(account_id)
        return channel is not None and channel.session == session and channel.route == way

    def _problem(self, account: TradingAccount | None) -> str:
        if account is None:
            return "REMOVED"
        if account.problem or account.session is None:
            return _PROBLEMS.get(account.problem, "SESSION_EXPIRED")
        if self._is_dead(account.account_id, account.session):
            return "SESSION_EXPIRED"
        if not is_enabled(account.broker):
            return "BROKER_NOT_ENABLED"
        return "" if _route(account) is not None else "EGRESS"

    def _channel(
        self, account: TradingAccount, session: Session, way: Route, shard: int
    ) -> Channel:
        rounds, timing = self._executor.rounds, self._executor.timing
        adapter = get_adapter(account.broker)
        loop = asyncio.get_running_loop()
        if self._deadlines is None:
            self._deadlines = Deadlines(loop)
        return Channel(
            account_id=account.account_id,
            real=account.real,
            shard=shard,
            session=session,
            adapter=adapter,
            pacer=self._pacer(account, shard),
            route=way,
            timeout=timing.answer_timeout,
            drop_after=kernel_timeout(
                timing.answer_timeout, timing.visibility(adapter.capabilities)
            ),
            places=self._places,
            loop=loop,
            deadlines=self._deadlines,
            may_send=rounds.sending.may_send,
            on_sent=rounds.sending.on_sent,
            on_answer=rounds.sending.on_answer,
            on_not_sent=rounds.sending.on_not_sent,
            on_late=self._executor.thaws.left_late,
        )

    def _pacer(self, account: TradingAccount, shard: int) -> Pacer:
        """Whose pace an account's calls keep: the real account's, whichever row is asked."""
        return self._pacers[shard].of(get_adapter(account.broker).capabilities, account.client_id)

    def warm_up(self, account_ids: Iterable[int]) -> None:
        """Begin to open the connections of accounts ahead of T; nobody waits for them.

        Whoever is not connected at T is connected, or reported as NotConnected, by the account's
        own channel. The first connections of all come before anybody's second.
        """
        for account_id in account_ids:
            channel = self.channels.get(account_id)
            if channel is None or channel in self._warming:
                continue
            task = self._warming[channel] = asyncio.create_task(self._warm(channel))
            task.add_done_callback(functools.partial(self._warmed, channel))

    def _warmed(self, channel: Channel, _task: asyncio.Task[None]) -> None:
        self._warming.pop(channel, None)

    async def _warm(self, channel: Channel) -> None:
        for connections in range(1, CONNECTIONS_PER_ACCOUNT + 1):
            await self._executor.quiet.over()  # no handshake begins while orders leave
            if not await channel.warm_up(connections):
                return

    async def name(self, broker: str, contract_ids: Iterable[int]) -> None:
        """Load the broker's names of contracts that are not known yet."""
        known = self._names.setdefault(broker, {})
        missing = [key for key in contract_ids if key not in known]
        if broker == PAPER:
            known.update({key: paper_instrument(key) for key in missing})
        elif missing:
            known.update(await self._executor.db.run(instrument_names, broker, missing))

    def instrument(self, broker: str, contract_id: int) -> BrokerInstrument | None:
        """The broker's name of a contract loaded by :meth:`name`."""
        return self._names.get(broker, {}).get(contract_id)

    def forget_session(self, account_id: int) -> None:
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
        self._retire(account_id)
        log.info("session_refused", account=account_id)

    def _retire(self, account_id: int) -> None:
        """No new call through this channel; answers under way are heard."""
        channel = self._let_go(account_id)
        if channel is not None:
            channel.retire()
            self._retired = [one for one in (*self._retired, channel) if one.is_connected]

    def _let_go(self, account_id: int) -> Channel | None:
        channel = self.channels.pop(account_id, None)
        actor = self._executor.actors.at(account_id)
        if actor is not None:
            actor.channels.pop(account_id, None)
        return channel

    def drop_shard(self, shard: int) -> None:
        """Close the channels of a shard that is no longer ours."""
        for channel in [c for c in self.channels.values() if c.shard == shard]:
            self._let_go(channel.account_id)
            channel.close()
            self.problems.pop(channel.account_id, None)
        self._pacers.pop(shard, None)

    def close(self) -> None:
        """Close every channel, those that were retired too, and open no more."""
        for task in self._warming.values():
            task.cancel()
        for channel in list(self.channels.values()):
            self._let_go(channel.account_id)
            channel.close()
        for channel in self._retired:
            channel.close()  # its answer may have been under way

    def submit(self, execution: LiveExecution, intent: LiveIntent) -> bool:
        """Hand a committed order to its account's channel; False when there is none."""
        channel = self.channels.get(execution.account_id)
        if channel is None:
            return False
        channel.submit(intent)
        return True


def _route(account: TradingAccount) -> Route | None:
    """How everything of this account leaves; None where its orders cannot (through a proxy)."""
    try:
        route = Route.of(endpoints(account.broker).api, account.egress)
    except ValueError:
        return None
    return None if route.proxy else route
