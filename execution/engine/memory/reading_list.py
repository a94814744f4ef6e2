"""Which accounts' order books to read, and from when on."""

from __future__ import annotations

from typing import Final

from execution import lifecycle
from execution.engine.memory.actors import Actor, Actors
from execution.engine.memory.streams import Streams
from execution.state import LiveIntent
from quantleap.core import clock

#: Seconds from an order's answer to the first read that looks for its fill.
FIRST_READ: Final = 0.12
#: The same for an account with order updates.
CHECKED_AFTER: Final = 1.5


class ReadingList:
    """Filled by any part that expects news in a book; the poller works through it."""

    def __init__(self, actors: Actors, streams: Streams) -> None:
        self._actors = actors
        self._streams = streams
        self.watched: set[Actor] = set()

    def soon(self, account_id: int) -> None:
        """Read the book shortly: an order of this account was answered, its fill should follow."""
        actor = self._actors.at(account_id)
        if actor is not None:
            self.watched.add(actor)
            actor.reads = 0
            soon = clock.monotonic() + self._first_look(actor)
            actor.next_read_mono = max(actor.next_read_mono, soon)

    def _first_look(self, actor: Actor) -> float:
        """Seconds until the first read: later if a stream reports fills, unless an order is
        UNKNOWN, for which only the book has proof."""
        is_streamed = self._streams.trusts(actor)
        unknown = any(intent.state == lifecycle.UNKNOWN for intent in actor.intents.values())
        return CHECKED_AFTER if is_streamed and not unknown else FIRST_READ

    def at_once(self, actor: Actor) -> None:
        """Read this account's book now: something may have happened unreported."""
        self.watched.add(actor)
        actor.reads = 0
        actor.next_read_mono = min(actor.next_read_mono, clock.monotonic())

    def watch(self, intent: LiveIntent) -> None:
        """Read this intent's book while another order of it may turn up there."""
        actor = self._actors.at(intent.account_id)
        if actor is not None:
            self.watched.add(actor)
