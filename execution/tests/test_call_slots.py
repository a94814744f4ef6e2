"""Call slots: how many calls begin at once, who gets a slot first, and when there are fewer."""

from __future__ import annotations

import asyncio

import pytest

from execution.engine.runtime import call_slots
from execution.engine.runtime.call_slots import CallSlots


async def most_at_once(bound: CallSlots, calls: int) -> int:
    """The most of ``calls`` that were under way at once."""
    under_way = most = 0

    async def call() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(bound.carry(call) for _ in range(calls)))
    return most


def test_48_reads_at_once_were_all_that_5000_accounts_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound grows by what is carried in time."""
    monkeypatch.setattr(call_slots, "LATE", 1e9)  # however busy this machine is

    async def main() -> tuple[int, int]:
        bound = CallSlots(*call_slots.READS)
        begun = await most_at_once(bound, 50)
        for _ in range(20):
            await most_at_once(bound, 100)
        return begun, bound.bound

    begun, after = asyncio.run(main())
    assert begun == 50
    assert after == call_slots.READS[1]


def test_a_fixed_bound_stays() -> None:
    async def main() -> tuple[int, int]:
        bound = CallSlots(4)
        return await most_at_once(bound, 50), bound.bound

    assert asyncio.run(main()) == (4, 4)


def test_a_loop_that_is_late_begins_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else calls that a busy machine cannot carry would time out together, and come again."""
    monkeypatch.setattr(call_slots, "HELD", -1.0)  # every call comes back late

    async def main() -> int:
        bound = CallSlots(*call_slots.READS)
        await most_at_once(bound, 100)
        return bound.bound

    assert asyncio.run(main()) == call_slots.READS[0]


def test_what_an_exit_waits_for_goes_first() -> None:
    async def main() -> list[str]:
        bound, order = CallSlots(1), list[str]()
        free = asyncio.Event()

        async def call(name: str) -> None:
            order.append(name)
            if name == "first":
                await free.wait()

        tasks = [asyncio.create_task(bound.carry(lambda: call("first")))]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(bound.carry(lambda: call("book"))))
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(bound.carry(lambda: call("exit"), urgent=True)))
        await asyncio.sleep(0)
        free.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(main()) == ["first", "exit", "book"]


def test_who_gives_up_while_waiting_keeps_no_place() -> None:
    async def main() -> int:
        bound = CallSlots(1)
        free = asyncio.Event()
        first = asyncio.create_task(bound.carry(free.wait))
        await asyncio.sleep(0)
        given_up = asyncio.create_task(bound.carry(free.wait))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        free.set()
        await first
        return await most_at_once(bound, 3)

    assert asyncio.run(main()) == 1
