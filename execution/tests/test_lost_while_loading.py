"""A shard that is lost while it is being loaded, and claimed again, is loaded again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from execution.engine.executor import Executor
from execution.state import LiveExecution
from execution.timing import from_settings


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept"])
def test_a_shard_lost_while_loading_was_skipped(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: the next load skipped the shard. Its executions were adopted under the old token or by
    nobody, and nobody looked again."""
    executor = Executor(from_settings(), name="loading")
    recovery, loads = executor.recovery, []

    async def working(shards: set[int]) -> list[LiveExecution]:
        loads.append(set(shards))
        if lost and len(loads) == 1:
            executor.lease_keeper.lose(3)  # the heartbeat says so, and the next one claims it again
            executor.ownership.tokens[3] = 2
            recovery.claimed(3)
        return []

    monkeypatch.setattr(recovery, "_working", working)
    monkeypatch.setattr(recovery, "_compare", lambda: asyncio.sleep(0))
    executor.ownership.tokens[3] = 1
    recovery.claimed(3)

    async def ticks(count: int) -> Any:
        for _ in range(count):
            await recovery.tick()

    asyncio.run(ticks(3))
    assert loads == ([{3}, {3}] if lost else [{3}])
    for pool in (executor.db, executor.beats, executor.feeds):
        pool.close()
