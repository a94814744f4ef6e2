"""The engine's parts for tests of a few of them, without a database and without an executor."""

from __future__ import annotations

import random
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from execution.engine.books.book_reader import BookReader
from execution.engine.books.order_updates import UpdateStreams
from execution.engine.books.poller import BookPoller
from execution.engine.books.visibility import Visibility
from execution.engine.entries.burst import Burst
from execution.engine.entries.entry_flow import EntryFlows
from execution.engine.entries.entry_queue import EntryQueue
from execution.engine.exits.account_quotes import AccountQuotes
from execution.engine.exits.change_requests import ChangeRequests
from execution.engine.exits.exit_orders import ExitOrders
from execution.engine.exits.exit_writer import ExitWriter
from execution.engine.exits.price_sources import PriceSources
from execution.engine.exits.witness_reads import WitnessReads
from execution.engine.memory.actors import Actor, Actors
from execution.engine.memory.channels import Channels
from execution.engine.memory.doubts import Doubts
from execution.engine.memory.fence import Fence
from execution.engine.memory.ownership import Ownership
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.streams import Streams
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.accounts import Accounts
from execution.engine.orders.broker_calls import BrokerCalls
from execution.engine.orders.cancels import Cancels
from execution.engine.orders.contract_names import ContractNames
from execution.engine.orders.self_trades import SelfTrades
from execution.engine.orders.sender import OrderSender
from execution.engine.rounds import Rounds
from execution.engine.runtime.kill_switch_watch import Control
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import Channel
from execution.engine.wire.channel_factory import ChannelFactory
from execution.timing import from_settings
from quantleap.core import clock


class OwnsAll(Ownership):
    """Whatever is asked about is ours, until ``owned`` is false."""

    owned = True

    def __init__(self) -> None:
        super().__init__("test", Fence(8.0))

    def owns(self, shard: int) -> bool:
        """By decree."""
        return self.owned

    def owns_at(self, shard: int, now_mono: float) -> bool:
        """By decree."""
        return self.owned

    def still_owns_at(self, shard: int, now_mono: float) -> bool:
        """By decree."""
        return self.owned


class Parts:
    """Each part is made when it is first asked for, of the others as they are then.

    Whatever is named in ``given`` stands in a part's place. ``channels`` are open sessions.
    """

    def __init__(self, *channels: Channel, **given: Any) -> None:
        self.__dict__.update(given)
        for channel in channels:
            self.open(channel)

    def open(self, channel: Channel) -> None:
        """A session of an account, without a word to anybody."""
        self.channels.by_account[channel.account_id] = channel
        self.actor_of(channel).channels[channel.account_id] = channel

    def actor_of(self, channel: Channel) -> Actor:
        """The actor that a channel belongs to."""
        return self.actors.of(channel.real, channel.account_id)

    # -- without a database ------------------------------------------------------------------
    db: Any = None
    feeds: Any = None

    @cached_property
    def quiet(self) -> QuietWindow:
        return QuietWindow()

    @cached_property
    def control(self) -> Any:
        return SimpleNamespace(current=Control(clock.monotonic()))

    @cached_property
    def random(self) -> random.Random:
        return random.Random(1)

    # -- memory ------------------------------------------------------------------------------
    @cached_property
    def ownership(self) -> Ownership:
        return OwnsAll()

    @cached_property
    def actors(self) -> Actors:
        return Actors()

    @cached_property
    def day(self) -> TradingDay:
        return TradingDay(self.actors)

    @cached_property
    def work(self) -> WorkList:
        return WorkList(self.day)

    @cached_property
    def doubts(self) -> Doubts:
        return Doubts()

    @cached_property
    def streams(self) -> Streams:
        return Streams()

    @cached_property
    def reading(self) -> ReadingList:
        return ReadingList(self.actors, self.streams)

    @cached_property
    def channels(self) -> Channels:
        return Channels(self.day, self.work)

    # -- orders ------------------------------------------------------------------------------
    @cached_property
    def names(self) -> ContractNames:
        return ContractNames(self.db)

    @cached_property
    def calls(self) -> BrokerCalls:
        return BrokerCalls(self.quiet)

    @cached_property
    def cancels(self) -> Cancels:
        return Cancels(self.actors, self.ownership, self.calls, self.reading)

    @cached_property
    def self_trades(self) -> SelfTrades:
        return SelfTrades(self.day, self.work, self.cancels)

    @cached_property
    def sender(self) -> OrderSender:
        return OrderSender(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            names=self.names,
            self_trades=self.self_trades,
            control=self.control,
            control_age=5.0,
            work=self.work,
            reading=self.reading,
            random=self.random,
        )

    @cached_property
    def factory(self) -> ChannelFactory:
        late: Any = SimpleNamespace(left_late=lambda intent, mono: None)
        return ChannelFactory(from_settings(), self.feeds, self.sender, late)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.db, self.quiet, self.channels, self.factory)

    # -- books -------------------------------------------------------------------------------
    @cached_property
    def visibility(self) -> Visibility:
        return Visibility(self.db, lambda _: 10.0)

    @cached_property
    def updates(self) -> UpdateStreams:
        return UpdateStreams(
            actors=self.actors,
            quiet=self.quiet,
            streams=self.streams,
            visibility=self.visibility,
            work=self.work,
            reading=self.reading,
            is_busy=lambda: False,
        )

    @cached_property
    def reader(self) -> BookReader:
        return BookReader(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            calls=self.calls,
            cancels=self.cancels,
            updates=self.updates,
            visibility=self.visibility,
            work=self.work,
            reading=self.reading,
            random=self.random,
        )

    @cached_property
    def poller(self) -> BookPoller:
        return BookPoller(
            day=self.day,
            quiet=self.quiet,
            channels=self.channels,
            accounts=self.accounts,
            sender=self.sender,
            reader=self.reader,
            streams=self.streams,
            work=self.work,
            reading=self.reading,
            answer_timeout=5.0,
        )

    # -- exits -------------------------------------------------------------------------------
    @cached_property
    def witnesses(self) -> WitnessReads:
        return WitnessReads(self.reader, self.names, self.work)

    @cached_property
    def prices(self) -> PriceSources:
        return PriceSources(self.feeds, AccountQuotes(self.names, self.calls), 5.0)

    @cached_property
    def exit_writer(self) -> ExitWriter:
        return ExitWriter(self.db, self.ownership)

    @cached_property
    def exits(self) -> ExitOrders:
        return ExitOrders(
            day=self.day,
            channels=self.channels,
            accounts=self.accounts,
            names=self.names,
            sender=self.sender,
            witnesses=self.witnesses,
            prices=self.prices,
            writer=self.exit_writer,
            work=self.work,
            doubts=self.doubts,
        )

    @cached_property
    def changes(self) -> ChangeRequests:
        return ChangeRequests(
            day=self.day,
            ownership=self.ownership,
            channels=self.channels,
            names=self.names,
            calls=self.calls,
            self_trades=self.self_trades,
            witnesses=self.witnesses,
            prices=self.prices,
            writer=self.exit_writer,
            work=self.work,
            reading=self.reading,
            doubts=self.doubts,
        )

    # -- entries and rounds ------------------------------------------------------------------
    @cached_property
    def queue(self) -> EntryQueue:
        return EntryQueue(self.day, self.streams, self.work)

    @cached_property
    def burst(self) -> Burst:
        return Burst(self.day, self.quiet, self.channels, self.sender, self.self_trades)

    @cached_property
    def entry(self) -> EntryFlows:
        return EntryFlows(
            day=self.day,
            ownership=self.ownership,
            timing=from_settings(),
            db=self.db,
            feeds=self.feeds,
            quiet=self.quiet,
            channels=self.channels,
            accounts=self.accounts,
            names=self.names,
            sender=self.sender,
            queue=self.queue,
            burst=self.burst,
            work=self.work,
            doubts=self.doubts,
        )

    @cached_property
    def rounds(self) -> Rounds:
        return Rounds(
            day=self.day,
            ownership=self.ownership,
            db=self.db,
            quiet=self.quiet,
            control=self.control,
            control_age=5.0,
            queue=self.queue,
            sender=self.sender,
            cancels=self.cancels,
            exits=self.exits,
            changes=self.changes,
            work=self.work,
            doubts=self.doubts,
        )
