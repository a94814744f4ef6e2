"""Which shards are ours, by which tokens, and for how long nobody else can have taken them."""

from __future__ import annotations

from execution.engine.memory.fence import Fence
from quantleap.core import clock


class Ownership:
    """Leases as this executor knows them. The lease keeper changes it, everybody else asks."""

    def __init__(self, owner: str, fence: Fence) -> None:
        """``owner`` is the name that stands in the leases and in what is written under them."""
        self.owner = owner
        self.fence = fence
        #: Fencing tokens by shard.
        self.tokens: dict[int, int] = {}
        #: Whether our clock is too far from the database's to decide an entry.
        self.clock_is_off = False

    @property
    def heartbeat_mono(self) -> float:
        """When our last successful heartbeat began, on the monotonic clock."""
        return self.fence.last.mono

    def fenced(self) -> bool:
        """Whether our leases may already be somebody else's: then nothing is sent."""
        return not self.fence.is_open(clock.monotonic())

    def owns(self, shard: int) -> bool:
        """Whether a shard is ours and our heartbeat is fresh."""
        return self.owns_at(shard, clock.monotonic())

    def owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns`, where the caller has just read the monotonic clock (every single send)."""
        return shard in self.tokens and self.fence.is_open(now_mono)

    def still_owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns_at` once more, where it was asked milliseconds ago."""
        return shard in self.tokens and self.fence.is_young(now_mono)
