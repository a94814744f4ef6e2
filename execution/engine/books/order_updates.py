"""Order updates: what brokers push, received before their books are read.

One stream per real account; nothing waits for it. An update goes through the same function as a row
of the book (:func:`execution.transitions.apply_report`), so late, double and lost updates do no
harm. An update that is not clearly about the newest send of one of our orders is left to the book,
which shows all orders of an account side by side. With a live stream books are read every few
seconds, without one at once, and a stream that misses something is distrusted for a while
(docs/adr/0042-order-updates-first-books-reconcile.md).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Final

import structlog

from brokers import transport_async
from brokers.base import OrderReport
from brokers.endpoints import endpoints
from brokers.order_updates import get_updates
from brokers.registry import get_adapter
from execution import duplicates, transitions
from execution.alarms import CHANGED_OUTSIDE
from execution.engine.books.visibility import Visibility
from execution.engine.memory.actors import Actor, Actors
from execution.engine.memory.reading_list import ReadingList
from execution.engine.memory.streams import Streams, Told
from execution.engine.memory.work_list import WorkList
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.runtime.quiet_window import QuietWindow
from execution.engine.wire.channel import Channel
from execution.engine.wire.order_stream import OrderStream
from execution.state import LiveIntent
from execution.tags import parse_tag
from quantleap.core import clock

log = structlog.get_logger(__name__)

#: Seconds between two checks of which accounts need a stream.
EVERY: Final = 0.5
#: Most handshakes under way at once.
AT_ONCE: Final = 32
#: Seconds by which a stream may lag behind the book.
BEHIND: Final = 1.0
#: Seconds for which a stream that missed something is distrusted.
DISTRUST: Final = 60.0


class UpdateStreams:
    """Keeps the streams open and applies their updates."""

    def __init__(
        self,
        *,
        actors: Actors,
        quiet: QuietWindow,
        streams: Streams,
        visibility: Visibility,
        work: WorkList,
        reading: ReadingList,
        is_busy: Callable[[], bool],
    ) -> None:
        """``is_busy``: whether so many entries are followed up that opening streams must wait."""
        self._actors = actors
        self._quiet = quiet
        self._trusted = streams
        self._streams = streams.by_actor
        self._visibility = visibility
        self._work = work
        self._reading = reading
        self._is_busy = is_busy
        self._clients = transport_async.Clients(connections=0)
        self._slots = CallSlots(AT_ONCE)

    async def loop(self) -> None:
        """Keep one stream open for every account with a session, for ever."""
        while True:
            await self._quiet.over()
            if not self._is_busy():
                self._reconcile()
            await asyncio.sleep(EVERY)

    async def close(self) -> None:
        """Close every stream."""
        for heard in self._streams.values():
            heard.stream.close()
        self._streams.clear()
        await self._clients.close()

    # -- which streams ---------------------------------------------------------------------------
    def _reconcile(self) -> None:
        """Open and close streams: one per account with a session, by any live session of it."""
        channels = {actor: list(actor.channels.values()) for actor in self._actors}
        for actor, heard in list(self._streams.items()):
            if not any(_is_of(heard, channel) for channel in channels.get(actor, ())):
                self._streams.pop(actor).stream.close()
        for actor in channels:
            channel = actor.reader()
            if channel is not None and actor not in self._streams:
                self._open(actor, channel)

    def _open(self, actor: Actor, channel: Channel) -> None:
        updates = get_updates(channel.real.broker)
        if updates is None:
            return
        stream = OrderStream(
            spoken=updates,
            client=self._clients.of(channel.route.source),
            base_url=endpoints(channel.real.broker).stream,
            session=channel.session,
            slots=self._slots,
            quiet=self._quiet,
            heard=functools.partial(self._heard, actor),
            turned=functools.partial(self._turned, actor),
        )
        self._streams[actor] = Told(stream, channel.route.source)

    def _turned(self, actor: Actor) -> None:
        """A stream begins or has ended: the book shows what was missed in between."""
        heard = self._streams.get(actor)
        if heard is not None:
            heard.filled.clear()
            self._reading.at_once(actor)

    # -- updates ---------------------------------------------------------------------------------
    def _heard(self, actor: Actor, report: OrderReport) -> None:
        heard, tag = self._streams.get(actor), parse_tag(report.tag)
        if heard is None or tag is None:
            return  # somebody else's order
        reported = heard.filled[report.broker_order_id]
        heard.filled[report.broker_order_id] = max(reported, report.filled_quantity)
        intent = actor.intents.get(tag.code)
        if intent is not None:
            self._apply(actor, intent, tag.attempt, report)

    def _apply(self, actor: Actor, intent: LiveIntent, attempt: int, report: OrderReport) -> None:
        if intent.is_unsent:
            return
        known = intent.broker_order_id
        if attempt != intent.sends or (known and known != report.broker_order_id):
            # Not the order of ours that counts: the book shows them side by side.
            delay = self._visibility.delay(get_adapter(actor.real.broker))
            duplicates.watch(intent, delay, clock.monotonic())
            self._reading.at_once(actor)
            return
        changed = transitions.apply_report(
            intent, report, at=clock.now(), now_mono=clock.monotonic()
        )
        if changed:
            if transitions.is_changed(intent, report):
                self._work.alarm(
                    intent.execution_id,
                    CHANGED_OUTSIDE,
                    leg=intent.leg_key,
                    words=f"{report.quantity} units instead of {intent.quantity}",
                    order=intent.tag,
                )
            self._work.changed(intent)

    # -- missed updates --------------------------------------------------------------------------
    def compare(self, actor: Actor, report: OrderReport) -> None:
        """The book shows new fills of ours: check a moment later that the stream reports them."""
        if self._trusted.trusts(actor):
            loop = asyncio.get_running_loop()
            loop.call_later(BEHIND, self._was_told, actor, report)

    def _was_told(self, actor: Actor, report: OrderReport) -> None:
        heard = self._streams.get(actor)
        if heard is None or heard.filled[report.broker_order_id] >= report.filled_quantity:
            return
        heard.distrusted_until = clock.monotonic() + DISTRUST
        log.warning("order_updates_missed", account=str(actor.real), order=report.broker_order_id)
        self._reading.at_once(actor)


def _is_of(heard: Told, channel: Channel) -> bool:
    """Whether the stream uses this channel's session and source address."""
    current, session = heard.stream.session, channel.session
    same = (current.api_key, current.access_token) == (session.api_key, session.access_token)
    return same and heard.source == channel.route.source
