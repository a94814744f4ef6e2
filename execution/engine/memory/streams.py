"""The open order streams, what each has reported, and which are trusted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from execution.engine.memory.actors import Actor
from execution.engine.wire.order_stream import OrderStream
from quantleap.core import clock


@dataclass(slots=True)
class Told:
    """A stream, its source address, and what it has reported: units filled, by order."""

    stream: OrderStream
    source: str
    filled: Counter[str] = field(default_factory=Counter)
    distrusted_until: float = 0.0


class Streams:
    """At most one stream per real account."""

    def __init__(self) -> None:
        self.by_actor: dict[Actor, Told] = {}

    def trusts(self, actor: Actor) -> bool:
        """Whether this account has a healthy stream that reports its fills."""
        heard = self.by_actor.get(actor)
        if heard is None:
            return False
        now = clock.monotonic()
        return heard.stream.is_healthy(now) and now >= heard.distrusted_until
