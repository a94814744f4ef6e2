"""The order streams that are open, what each has told, and which of them are believed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from execution.engine.memory.actors import Actor
from execution.engine.wire.order_stream import OrderStream
from quantleap.core import clock


@dataclass(slots=True)
class Told:
    """A stream, by which way it is reached, and what it has told: units filled, by order."""

    stream: OrderStream
    source: str
    filled: Counter[str] = field(default_factory=Counter)
    distrusted_until: float = 0.0


class Streams:
    """At most one stream for each real account."""

    def __init__(self) -> None:
        self.by_actor: dict[Actor, Told] = {}

    def trusts(self, actor: Actor) -> bool:
        """Whether this account's fills are told by its stream."""
        told = self.by_actor.get(actor)
        if told is None:
            return False
        now = clock.monotonic()
        return told.stream.is_healthy(now) and now >= told.distrusted_until
