"""Which shards are ours, by which tokens, and how long no other executor can have taken them."""

from __future__ import annotations

from execution.engine.memory.fence import Fence
from quantleap.core import clock


class Ownership:
    """Leases as this executor knows them. Changed by the lease keeper only."""

    def __init__(self, owner: str, fence: Fence) -> None:
        """``owner`` is the name stored in the leases and in rows written under them."""
        self.owner = owner
        self.fence = fence
        #: Fencing tokens by shard.
        self.tokens: dict[int, int] = {}
        #: Whether our clock is too far from the database's to decide an entry.
        self.clock_is_off = False

    @property
    def heartbeat_mono(self) -> float:
        """When our last successful heartbeat began (monotonic seconds)."""
        return self.fence.last.mono

    def fenced(self) -> bool:
        """Whether our leases may already have a new owner: then nothing is sent."""
        return not self.fence.is_open(clock.monotonic())

    def owns(self, shard: int) -> bool:
        """Whether a shard is ours and our fence is open."""
        return self.owns_at(shard, clock.monotonic())

    def owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns` for a caller that has just read the monotonic clock (every single send)."""
        return shard in self.tokens and self.fence.is_open(now_mono)

    def still_owns_at(self, shard: int, now_mono: float) -> bool:
        """:meth:`owns_at` for a caller that called it milliseconds ago."""
        return shard in self.tokens and self.fence.is_young(now_mono)
