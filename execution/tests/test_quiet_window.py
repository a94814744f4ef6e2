"""Around an entry second everything else of the executor waits, and only then."""

from __future__ import annotations

import asyncio
import gc

from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.runtime.quiet_window import QuietWindow


def test_the_gate_opens_when_the_last_entry_has_fired() -> None:
    async def story() -> None:
        quiet = QuietWindow()
        await quiet.over()  # open from the start
        quiet.begin(1)
        quiet.begin(2)
        waiting = asyncio.create_task(quiet.over())
        quiet.end(1)
        await asyncio.sleep(0)
        assert quiet.is_on
        assert not waiting.done()
        quiet.end(2)
        await waiting
        assert not quiet.is_on

    asyncio.run(story())


def test_no_garbage_is_collected_while_orders_leave() -> None:
    quiet = QuietWindow()
    quiet.begin(1)
    assert not gc.isenabled()
    quiet.begin(2)
    quiet.end(1)
    assert not gc.isenabled()
    quiet.end(2)
    assert gc.isenabled()


def test_no_garbage_is_collected_while_many_are_followed_up() -> None:
    """Seen: with 2,500 accounts a quarter of the interpreter's time, a third of a second a time."""
    quiet = QuietWindow()
    quiet.begin(1)
    quiet.hold(True)
    quiet.end(1)
    assert not gc.isenabled()
    assert not quiet.is_on, "everything else goes on"
    quiet.begin(2)
    quiet.hold(False)
    assert not gc.isenabled()
    quiet.end(2)
    assert gc.isenabled()


def test_an_end_without_a_beginning_does_no_harm() -> None:
    quiet = QuietWindow()
    quiet.begin(1)
    quiet.end(2)
    assert quiet.is_on
    quiet.end(1)
    quiet.end(1)
    assert not quiet.is_on


def test_database_work_waits_for_the_gate() -> None:
    async def story() -> None:
        quiet = QuietWindow()
        pool = DatabasePool("test-quiet", quiet)
        begun: list[str] = []
        try:
            quiet.begin(1)
            work = asyncio.create_task(pool.run(begun.append, "read"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert begun == []
            quiet.end(1)
            await work
            assert begun == ["read"]
        finally:
            quiet.end(1)
            await asyncio.to_thread(pool.close)

    asyncio.run(story())


def test_another_entrys_plans_wait_for_this_ones_second() -> None:
    """Seen: a run a second ahead was being planned when this one was due: 38 ms late."""

    async def story() -> None:
        quiet = QuietWindow()
        planned: list[int] = []

        async def plan() -> None:
            async for portion in quiet.portions(range(120), 50):
                planned.extend(portion)
                if len(planned) == 50:
                    quiet.begin(1)

        planning = asyncio.create_task(plan())
        for _ in range(20):
            await asyncio.sleep(0)
        assert planned == list(range(50))
        quiet.end(1)
        await planning
        assert planned == list(range(120))

    asyncio.run(story())


def test_another_entrys_garbage_is_not_collected_in_this_second() -> None:
    quiet = QuietWindow()
    collections: list[str] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        collections.append(phase)

    gc.callbacks.append(note)
    try:
        quiet.begin(1)
        quiet.collect()
        assert collections == []
        quiet.end(1)
        quiet.collect()
        assert collections[:2] == ["start", "stop"]
    finally:
        gc.callbacks.remove(note)
