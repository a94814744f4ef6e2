"""Delivered after the commit, at least once, and never for a rolled-back change."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence

import pytest
from django.db import connection, transaction

from quantleap.core import clock, outbox
from quantleap.core.models import OutboxEvent
from quantleap.core.ports import Handlers, Port, PortNotRegistered


@pytest.fixture
def relayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Event types that a handler was given, instead of the rooms' own handlers."""
    seen: list[str] = []
    handlers: Handlers[outbox.OutboxHandler] = Handlers("test")

    def handler(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
        seen.extend(event.type for event in events)

    handlers.register(handler)
    monkeypatch.setattr(outbox, "HANDLERS", handlers)
    return seen


def emit(type: str = "thing.done", key: str | None = None) -> None:
    with transaction.atomic():
        outbox.emit(type, {"a": 1}, about="thing", partner_id=1, dedupe_key=key, now=clock.now())


@pytest.mark.django_db(transaction=True)
class TestOutbox:
    """On a real database with real commits."""

    def test_outside_a_transaction_nothing_can_be_told(self) -> None:
        with pytest.raises(outbox.NotInTransaction):
            outbox.emit("thing.done", {}, about="thing", partner_id=1, now=clock.now())

    def test_a_dedupe_key_is_one_event_per_tenant(self, relayed: list[str]) -> None:
        for _ in range(3):
            emit(key="run-1")
        with transaction.atomic():
            outbox.emit(
                "thing.done", {}, about="thing", partner_id=2, dedupe_key="run-1", now=clock.now()
            )
            outbox.emit(
                "thing.done",
                {},
                about="thing",
                partner_id=None,
                dedupe_key="run-1",
                now=clock.now(),
            )
            outbox.emit(
                "thing.done",
                {},
                about="thing",
                partner_id=None,
                dedupe_key="run-1",
                now=clock.now(),
            )
        assert outbox.relay(now=clock.now()) == 3

    def test_told_once_and_in_order(self, relayed: list[str]) -> None:
        for number in range(5):
            emit(f"thing.{number}")
        assert outbox.relay(now=clock.now(), batch=3) == 3
        assert outbox.relay(now=clock.now(), batch=3) == 2
        assert outbox.relay(now=clock.now(), batch=3) == 0
        assert relayed == [f"thing.{number}" for number in range(5)]

    def test_a_failed_handler_leaves_its_events(self, relayed: list[str]) -> None:
        emit()

        def broken(events: Sequence[OutboxEvent], now: dt.datetime) -> None:
            raise RuntimeError

        outbox.HANDLERS.register(broken)
        with pytest.raises(RuntimeError):
            outbox.relay(now=clock.now())
        assert OutboxEvent.objects.get().published_at is None

    def test_relays_side_by_side_tell_each_event_once(self, relayed: list[str]) -> None:
        for number in range(100):
            emit(f"thing.{number}")
        barrier = threading.Barrier(4)

        def work() -> None:
            try:
                barrier.wait()
                # A relay that finds every row locked by the others comes back later.
                while OutboxEvent.objects.filter(published_at__isnull=True).exists():
                    outbox.relay(now=clock.now(), batch=7)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(relayed) == sorted(f"thing.{number}" for number in range(100))


def test_a_port_has_one_implementation_or_says_so() -> None:
    port: Port[str] = Port("p")
    with pytest.raises(PortNotRegistered):
        port.get()
    port.register("a")
    port.register("a")
    with pytest.raises(RuntimeError, match="already"):
        port.register("b")
    assert port.get() == "a"
    assert Port("q", "default").get() == "default"
