"""Events of one object are numbered in the order in which they happened."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connection, transaction

from partners.models import Partner, WebhookDelivery
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks.delivery import RETRY_AFTER, deliver_due
from quantleap.core import clock, outbox
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.parallel import somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def test_a_late_event_keeps_its_lower_sequence(partner: Partner, sink: Sink) -> None:
    """Bug: delivered in the wrong order, and nothing in the event that ordered them."""
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 503 if number == 1 else 204
    now = clock.now()
    second = dt.timedelta(seconds=1)
    tell(partner, "subscription.paused", about="sub_1", now=now)
    deliver_due(now=now)
    tell(partner, "subscription.resumed", about="sub_1", now=now + second)
    deliver_due(now=now + second)
    deliver_due(now=now + RETRY_AFTER[0] + 2 * second)
    bodies = [json.loads(request.body) for request in sink.requests]
    arrived = [body["type"] for body in bodies[1:]]
    assert arrived == ["subscription.resumed", "subscription.paused"]
    resumed, paused = bodies[1:]
    assert resumed["object_id"] == paused["object_id"] == "sub_1"
    assert (paused["sequence"], resumed["sequence"]) == (1, 2)
    assert paused["occurred_at"] < resumed["occurred_at"]
    assert bodies[0] == paused  # a retry says the same
    for body in bodies:
        assert body["occurred_at"] == body["timestamp"]
    newest = max(bodies, key=lambda body: body["sequence"])
    assert newest["type"] == "subscription.resumed"  # how the docs say that both are used
    assert WebhookDelivery.objects.filter(status="DELIVERED").count() == 2


class Telling(threading.Thread):
    """A transaction of its own that emits, and stays open until it is told to commit."""

    def __init__(self, about: str, what: str) -> None:
        super().__init__(daemon=True)
        self.about, self.what = about, what
        self.emitted, self.commit = threading.Event(), threading.Event()

    def run(self) -> None:
        try:
            with transaction.atomic():
                outbox.emit(self.what, {}, about=self.about, partner_id=None, now=clock.now())
                self.emitted.set()
                assert self.commit.wait(30)
        finally:
            connection.close()


def test_events_are_numbered_in_commit_order() -> None:
    first, second = Telling("sub_1", "first"), Telling("sub_1", "second")
    first.start()
    assert first.emitted.wait(30)
    second.start()
    while not somebody_waits():
        assert second.is_alive()
    assert not second.emitted.is_set()  # it has no number before the first is true
    first.commit.set()
    assert second.emitted.wait(30)
    assert OutboxEvent.objects.get().type == "first"
    second.commit.set()
    first.join()
    second.join()
    rows = OutboxEvent.objects.order_by("sequence").values_list("type", "sequence")
    assert list(rows) == [("first", 1), ("second", 2)]


def test_two_objects_do_not_wait_for_each_other() -> None:
    """The control: the row's own id is drawn early, so that it is no order of what became true."""
    slow, quick = Telling("sub_1", "slow"), Telling("sub_2", "quick")
    slow.start()
    assert slow.emitted.wait(30)
    quick.start()
    assert quick.emitted.wait(30)
    quick.commit.set()
    quick.join()
    true_first = OutboxEvent.objects.get()
    slow.commit.set()
    slow.join()
    assert true_first.type == "quick"
    assert true_first.pk > OutboxEvent.objects.exclude(pk=true_first.pk).get().pk
    assert set(OutboxEvent.objects.values_list("sequence", flat=True)) == {1}


def test_eight_threads_draw_no_number_twice() -> None:
    def work(number: int) -> None:
        try:
            for step in range(10):
                with transaction.atomic():
                    outbox.emit(
                        "x", {"n": step}, about=f"sub_{step % 2}", partner_id=None, now=clock.now()
                    )
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("sub_0", "sub_1"):
        drawn = list(
            OutboxEvent.objects.filter(object_id=name)
            .order_by("sequence")
            .values_list("sequence", flat=True)
        )
        assert drawn == list(range(1, 41))


def test_batches_in_opposite_order_do_not_deadlock() -> None:
    """Seen in the making: numbers drawn in the caller's order were a deadlock."""
    barrier, failed = threading.Barrier(2), []

    def work(names: list[str]) -> None:
        try:
            for _ in range(20):
                barrier.wait(30)
                with transaction.atomic():
                    outbox.emit_many(
                        [OutboxEvent(type="x", object_id=name, payload={}) for name in names]
                    )
        except Exception as error:  # noqa: BLE001  a thread's failure is told by the test
            failed.append(error)
        finally:
            connection.close()

    names = [f"sub_{number:02}" for number in range(50)]
    threads = [
        threading.Thread(target=work, args=(order,)) for order in (names, list(reversed(names)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_the_database_refuses_an_event_about_nothing() -> None:
    with pytest.raises(IntegrityError, match="tells of nothing"), transaction.atomic():
        outbox.emit("x", {}, about="", partner_id=None, now=clock.now())
