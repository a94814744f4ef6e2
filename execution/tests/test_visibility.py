"""How late a broker's book is: measured, kept for a week, bounded."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator

import pytest

from brokers.base import Capabilities
from brokers.registry import get_adapter
from execution.alarms import LEFT_LATE
from execution.engine.books.visibility import KEPT, Visibility
from execution.engine.database import book_lags
from execution.engine.runtime.database_pool import DatabasePool
from execution.engine.runtime.quiet_window import QuietWindow
from execution.models import Alarm, BookLag
from execution.tests.factories import make_accounts
from quantleap.core import clock

ZEBU, KITE = get_adapter("zebu"), get_adapter("zerodha")


@pytest.fixture
def pool() -> Iterator[DatabasePool]:
    """The executor's way to the database."""
    database_pool = DatabasePool("test", QuietWindow())
    yield database_pool
    database_pool.close()


def measure(desk: Visibility, *seconds: float) -> None:
    async def main() -> None:
        for delay in seconds:
            desk.seen_after(ZEBU, delay, f"Q{delay}")
        await asyncio.gather(*desk._checks.values())

    asyncio.run(main())


def declared(capabilities: Capabilities) -> float:
    return float(capabilities.visibility_delay)


def test_what_an_adapter_declares_is_the_least(pool: DatabasePool) -> None:
    assert Visibility(pool, declared).delay(ZEBU) == 10.0
    assert Visibility(pool, lambda _: 2.0).delay(ZEBU) == 2.0


@pytest.fixture(autouse=True)
def checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("execution.engine.books.visibility.CHECKED_AFTER", 0.0)


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def longest(_broker: str, delays: dict[str, float], **_: object) -> float:
        return max(delays.values())

    monkeypatch.setattr("execution.engine.books.visibility.note_lag", longest)


@pytest.mark.usefixtures("no_database")
@pytest.mark.parametrize(
    ("measured", "delay"),
    [
        pytest.param([3.0], 10.0, id="below_what_is_declared"),
        pytest.param([14.0], 21.0, id="half_as_long_again"),
        pytest.param([14.0, 2.0], 21.0, id="the_longest_counts"),
        pytest.param([600.0], 30.0, id="bounded"),
    ],
)
def test_a_book_that_was_late_is_believed_to_be_late_again(
    pool: DatabasePool, measured: list[float], delay: float
) -> None:
    """Seen: an order hidden for 14 s, proven absent after 10, and sent again."""
    desk = Visibility(pool, declared)
    measure(desk, *measured)
    assert desk.delay(ZEBU) == delay
    assert desk.delay(KITE) == 10.0, "another broker's book is another"


@pytest.mark.django_db
def test_the_longest_delay_is_kept_for_a_week() -> None:
    now = clock.now()

    def note(seconds: float, days: int = 0) -> None:
        at = now + dt.timedelta(days=days)
        book_lags.note_lag("zebu", {"QTAG": seconds}, now=at, kept=KEPT)

    note(14.0)
    note(3.0)
    assert book_lags.measured(now - KEPT) == {"zebu": (14.0, now)}
    note(3.0, days=8)
    assert float(BookLag.objects.get().seconds) == 3.0
    assert book_lags.measured(now + dt.timedelta(days=9)) == {}


@pytest.mark.django_db(transaction=True)
def test_another_executor_reads_what_was_measured(pool: DatabasePool) -> None:
    measure(Visibility(pool, declared), 14.0)
    other = Visibility(pool, declared)

    async def main() -> None:
        reading = asyncio.create_task(other.loop())
        while other.delay(ZEBU) == 10.0:
            await asyncio.sleep(0.01)
        reading.cancel()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert other.delay(ZEBU) == 21.0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("left_late", [False, True])
def test_an_order_that_a_thawed_process_sent_measures_no_book(
    pool: DatabasePool, left_late: bool
) -> None:
    """Seen: an executor thawed after 12 s and sent its order. For a week its broker's book counted
    as that late, and after the next takeover nobody's order was sent again within the grace."""
    (account,) = make_accounts(1)
    tag = "QTAG" if left_late else "QANOTHER"
    Alarm.objects.create(cause=LEFT_LATE, order_tag=tag, account=account)
    desk = Visibility(pool, declared)
    delays = []

    async def main() -> None:
        desk.seen_after(ZEBU, 14.0, "QTAG")
        delays.append(desk.delay(ZEBU))
        await asyncio.gather(*desk._checks.values())
        delays.append(desk.delay(ZEBU))

    asyncio.run(main())
    assert delays == [21.0, 10.0 if left_late else 21.0], "it counts until it is known"
    assert BookLag.objects.exists() is not left_late


@pytest.mark.django_db(transaction=True)
def test_a_book_that_was_late_for_many_is_one_row_and_one_check(pool: DatabasePool) -> None:
    """The longest delay counts, except for orders that a thawed process sent; delays that arrive
    during the check are checked after it."""
    (account,) = make_accounts(1)
    Alarm.objects.create(cause=LEFT_LATE, order_tag="QLATE", account=account)
    desk = Visibility(pool, declared)

    async def main() -> int:
        for number in range(100):
            desk.seen_after(ZEBU, 11.0 + number / 100, f"Q{number}")
        desk.seen_after(ZEBU, 19.0, "QLATE")
        assert desk.delay(ZEBU) == 28.5
        checks = list(desk._checks.values())
        await asyncio.sleep(0)
        desk.seen_after(ZEBU, 15.0, "QAFTER")
        await asyncio.gather(*checks)
        return len(checks)

    assert asyncio.run(main()) == 1
    assert (desk.delay(ZEBU), desk._checks) == (22.5, {})
    row = BookLag.objects.get()
    assert (row.tag, float(row.seconds)) == ("QAFTER", 15.0)
