"""Whose order books are worth reading, and from when on."""

from __future__ import annotations

from typing import Final

from execution import lifecycle
from execution.engine.memory.actors import Actor, Actors
from execution.engine.memory.streams import Streams
from execution.state import LiveIntent
from quantleap.core import clock

#: Seconds from an answer to the first look for its fill.
FIRST_READ: Final = 0.12
#: The same where order updates come by themselves.
CHECKED_AFTER: Final = 1.5


class ReadingList:
    """Filled by whoever expects something in a book, gone through by the poller."""

    def __init__(self, actors: Actors, streams: Streams) -> None:
        self._actors = actors
        self._streams = streams
        self.watched: set[Actor] = set()

    def soon(self, account_id: int) -> None:
        """An order of this account was just answered: its fill should be in the book shortly."""
        actor = self._actors.at(account_id)
        if actor is not None:
            self.watched.add(actor)
            actor.reads = 0
            soon = clock.monotonic() + self._first_look(actor)
            actor.next_read_mono = max(actor.next_read_mono, soon)

    def _first_look(self, actor: Actor) -> float:
        """Seconds until a book is worth reading: later where fills are told without being asked
        for, unless something is unknown, which nobody tells."""
        told = self._streams.trusts(actor)
        unknown = any(intent.state == lifecycle.UNKNOWN for intent in actor.intents.values())
        return CHECKED_AFTER if told and not unknown else FIRST_READ

    def at_once(self, actor: Actor) -> None:
        """Something of this account may have happened unheard: read its book."""
        self.watched.add(actor)
        actor.reads = 0
        actor.next_read_mono = min(actor.next_read_mono, clock.monotonic())

    def watch(self, intent: LiveIntent) -> None:
        """Read this intent's book for as long as another order of it may turn up there."""
        actor = self._actors.at(intent.account_id)
        if actor is not None:
            self.watched.add(actor)
