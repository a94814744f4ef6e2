"""A process that stood still among its orders asks again before the byte, or says what it has done.

Seen: an executor was frozen for 26 s in the middle of a burst, its successor took over, and when it
thawed it sent what it had been about to send; an exit's duplicate raised no alarm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from execution.alarms import LEFT_LATE
from execution.engine.executor import Executor
from execution.engine.memory.fence import moment
from execution.models import Alarm
from execution.state import LiveIntent
from execution.tests.inmemory import live_intent
from execution.tests.leaserows import traded
from execution.tests.wire import Told, channel, sending
from execution.timing import from_settings
from quantleap.core import clock


class Frozen:
    """Our clock, which stands still for us while the world's goes on."""

    def __init__(self) -> None:
        self.lost = 0.0

    def monotonic(self) -> float:
        """The monotonic clock with what was slept through."""
        return time.monotonic() + self.lost


class Socket:
    """A connected socket before whose byte the process stands still."""

    def __init__(self, raw: Any, frozen: Frozen) -> None:
        self._raw, self._frozen = raw, frozen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def send(self, data: bytes) -> int:
        """Freeze for 26 s, then send."""
        self._frozen.lost += 26.0
        return int(self._raw.send(data))


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Frozen:
    """The executor's monotonic clock, to be moved on by the test."""
    frozen_clock = Frozen()
    monkeypatch.setattr(clock, "monotonic", frozen_clock.monotonic)
    return frozen_clock


async def _server(heard: list[bytes]) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            heard.append(data)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def play(
    why_not_send: Callable[[LiveIntent, float], str], frozen: Frozen, *, at_the_byte: bool
) -> Any:
    """One order over a real connection: what the broker heard, what was told, what left late."""
    heard: list[bytes] = []
    late: list[LiveIntent] = []

    async def story() -> Told:
        told, server = Told(), await _server(heard)
        port = server.sockets[0].getsockname()[1]
        account = channel(f"http://127.0.0.1:{port}", told)
        account._why_not_send = why_not_send
        account._on_late = lambda intent, _mono: late.append(intent)
        assert await account.warm_up(1)
        connection = account._connections[0]
        if at_the_byte:
            connection._socket = Socket(connection._socket, frozen)  # type: ignore[assignment]
        account.submit(sending(account))
        await told.until(lambda t: bool(t.sent or t.not_sent))
        while told.sent and not heard:
            await asyncio.sleep(0)
        account.close()
        server.close()
        return told

    return asyncio.run(story()), heard, late


def test_an_executor_frozen_after_its_check_sent_on_thawing(frozen: Frozen) -> None:
    """It asks again, and hears that its shard may be somebody else's by now."""

    def why_not_send(intent: LiveIntent, mono: float) -> str:
        if frozen.lost:
            return "FENCED"
        frozen.lost = 26.0
        return ""

    told, heard, late = play(why_not_send, frozen, at_the_byte=False)
    assert [reason for _, reason, _ in told.not_sent] == ["FENCED"]
    assert (told.sent, heard, late) == ([], [], [])


def test_an_order_that_left_late_is_known(frozen: Frozen) -> None:
    """The order left when its process thawed.

    Frozen between the last look at the clock and the byte, an order still leaves.
    """
    told, heard, late = play(lambda intent, mono: "", frozen, at_the_byte=True)
    assert len(heard) == 1
    assert late == [intent for intent, _ in told.sent]


def test_nothing_is_late_where_nothing_stood_still(frozen: Frozen) -> None:
    """The control."""
    _, heard, late = play(lambda intent, mono: "", frozen, at_the_byte=False)
    assert (len(heard), late) == (1, [])


@pytest.fixture
def executor(transactional_db: None) -> Iterator[Executor]:
    """One that does not run."""
    idle_executor = Executor(from_settings(), name="thawed")
    yield idle_executor
    for pool in (idle_executor.db, idle_executor.beats, idle_executor.feeds):
        pool.close()


@pytest.mark.parametrize("ours", [False, True], ids=["taken over", "still ours"])
def test_an_exits_duplicate_raised_no_alarm(executor: Executor, ours: bool) -> None:
    """Whoever took over may have ended the execution: the one who sent says so, whose shard or
    not."""
    row = traded(0)
    intent = live_intent(execution_id=row.pk, leg_key="one", tag="QAAAAAAAAAAAA1")
    held: Any = SimpleNamespace(id=row.pk, shard=0, public_id=row.public_id)
    executor.day.executions[row.pk] = held
    if ours:
        executor.ownership.tokens[0] = 1
        executor.ownership.fence.renewed(moment())

    async def thaw() -> None:
        executor.late_sends.left_late(intent, clock.monotonic())
        await asyncio.gather(*executor.late_sends._tasks)

    asyncio.run(thaw())
    alarms = list(Alarm.objects.values_list("execution_id", "cause", "order_tag"))
    assert alarms == ([] if ours else [(row.pk, LEFT_LATE, "QAAAAAAAAAAAA1")])
