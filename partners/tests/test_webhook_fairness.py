"""No partner's hanging endpoints or backlog delay another partner's deliveries (adr 0063)."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks import claims
from partners.webhooks.claims import (
    PER_ENDPOINT,
    PER_FAILING_ENDPOINT,
    PER_PARTNER,
    PROBES_PER_PARTNER,
    SLOTS,
    Slots,
    claim,
)
from quantleap.core import clock

pytestmark = pytest.mark.django_db(transaction=True)
HANGING = 160
BACKLOG = 100_000


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def _backlog(endpoint: WebhookEndpoint, count: int, due: dt.datetime) -> None:
    """``count`` due deliveries of one endpoint, written by the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO partners_webhookdelivery
                   (partner_id, environment, endpoint_id, event_id, type, body, status, attempts,
                    next_attempt_at, last_error, created_at)
            SELECT %s, %s, %s, 'evt_' || %s || '_' || number, 'subscription.created', '{}',
                   'PENDING', 0, %s, '', %s
              FROM generate_series(1, %s) AS number
            """,
            [
                endpoint.partner_id,
                endpoint.environment,
                endpoint.pk,
                endpoint.pk,
                due,
                due,
                count,
            ],
        )


class TestClaiming:
    """Who gets the next slots."""

    def test_a_backlog_does_not_keep_another_row_from_being_claimed(self, sink: Sink) -> None:
        busy, other = make_partner(), make_partner()
        now = clock.now()
        _backlog(endpoint_of(busy, sink).endpoint, 1000, now - dt.timedelta(hours=1))
        quiet = endpoint_of(other, sink).endpoint
        _backlog(quiet, 1, now)
        claimed = claim(now=now, limit=SLOTS)
        by_endpoint = Counter(delivery.endpoint_id for delivery in claimed)
        assert by_endpoint[quiet.pk] == 1
        assert max(by_endpoint.values()) == PER_ENDPOINT

    def test_the_former_claim_took_the_backlog_first(self, sink: Sink) -> None:
        """The control: oldest first."""
        busy, other = make_partner(), make_partner()
        now = clock.now()
        _backlog(endpoint_of(busy, sink).endpoint, 1000, now - dt.timedelta(hours=1))
        _backlog(endpoint_of(other, sink).endpoint, 1, now)
        oldest = WebhookDelivery.objects.order_by("next_attempt_at")[:SLOTS]
        assert {row.partner_id for row in oldest} == {busy.pk}

    def test_posts_in_progress_count_towards_the_bounds(self, sink: Sink) -> None:
        partner = make_partner()
        now, slots = clock.now(), Slots()
        for _ in range(30):
            _backlog(endpoint_of(partner, sink).endpoint, 20, now)
        endpoint_of(partner, sink, environment="test")
        while claimed := claim(now=now, limit=SLOTS, slots=slots):
            slots.take(claimed)
        assert slots.tenants == {(partner.pk, "live"): PER_PARTNER}
        assert max(slots.endpoints.values()) <= PER_ENDPOINT
        assert len(slots.endpoints) == 30  # dealt out in turns

    def test_a_failing_endpoint_gets_one_probe_at_a_time(self, sink: Sink) -> None:
        partner = make_partner()
        now, slots = clock.now(), Slots()
        for _ in range(PROBES_PER_PARTNER + 4):
            _backlog(endpoint_of(partner, sink).endpoint, 20, now - dt.timedelta(hours=1))
        WebhookEndpoint.objects.update(failing_since=now, last_failed_at=now, failed_tries=1)
        healthy = endpoint_of(partner, sink).endpoint
        _backlog(healthy, 20, now)
        while claimed := claim(now=now, limit=SLOTS, slots=slots):
            slots.take(claimed)
        assert slots.endpoints.pop(healthy.pk) == PER_ENDPOINT
        assert slots.endpoints.total() == PROBES_PER_PARTNER
        assert max(slots.endpoints.values()) == PER_FAILING_ENDPOINT

    def test_one_slot_is_left_for_a_partner_that_has_none(self, sink: Sink) -> None:
        now, slots = clock.now(), Slots()
        for _ in range(8):
            partner = make_partner()
            for _ in range(10):
                _backlog(endpoint_of(partner, sink).endpoint, 20, now)
        while claimed := claim(now=now, limit=SLOTS, slots=slots):
            slots.take(claimed)
        assert 0 < slots.room < SLOTS // 4
        late = endpoint_of(make_partner(), sink).endpoint
        _backlog(late, 1, now)
        assert [row.endpoint_id for row in claim(now=now, limit=SLOTS, slots=slots)] == [late.pk]

    def test_an_endpoints_oldest_deliveries_come_first(self, sink: Sink) -> None:
        endpoint = endpoint_of(make_partner(), sink).endpoint
        now = clock.now()
        for age in range(20):
            tell(Partner.objects.get(), now=now - dt.timedelta(minutes=age))
        claimed = claim(now=now, limit=SLOTS)
        oldest = endpoint.deliveries.order_by("next_attempt_at", "id")[:PER_ENDPOINT]
        assert {row.id for row in claimed} == set(oldest.values_list("pk", flat=True))

    def test_freed_slots_count_for_nothing(self, sink: Sink) -> None:
        _backlog(endpoint_of(make_partner(), sink).endpoint, 20, clock.now())
        slots = Slots()
        claimed = claim(now=clock.now(), limit=5, slots=slots)
        slots.take(claimed)
        assert slots.room == SLOTS - 5
        slots.free(claimed)
        assert (slots.room, slots.endpoints, slots.tenants) == (SLOTS, {}, {})


def test_the_claim_reads_a_few_rows_of_a_backlog(sink: Sink) -> None:
    """With 100,000 due rows of one endpoint it reads hundreds of pages at most, by index."""
    now = clock.now()
    _backlog(endpoint_of(make_partner(), sink).endpoint, BACKLOG, now)
    _backlog(endpoint_of(make_partner(), sink).endpoint, 1, now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE partners_webhookdelivery")
        values = {
            "now": now,
            "until": now + claims.CLAIM,
            "limit": SLOTS // 2,
            "per_endpoint": PER_ENDPOINT,
            "per_failing_endpoint": PER_FAILING_ENDPOINT,
            "per_partner": PER_PARTNER,
            "probes_per_partner": PROBES_PER_PARTNER,
            **Slots().parameters(),
        }
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claims._CLAIM_DUE}", values)
        (answer,) = cursor.fetchone()
    plan = answer[0] if isinstance(answer, list) else json.loads(answer)[0]
    text = json.dumps(plan)
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert "delivery_queue_idx" in text
    assert pages < 1000, text
    control = WebhookDelivery.objects.filter(pk__gt=0).explain(analyze=True, buffers=True)
    assert "Seq Scan" in control  # the whole table, for comparison


class Hanging:
    """A real server that accepts and never answers."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/hook"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(accepted)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for accepted in self.connections:
            accepted.close()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    server = Hanging()
    yield server
    server.close()


@contextlib.contextmanager
def _delivering(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that delivers from this test's database."""
    parts = urlsplit(settings.DATABASE_URL)
    url = urlunsplit(parts._replace(path="/" + str(connection.settings_dict["NAME"])))
    process = subprocess.Popen(
        [sys.executable, "-m", "partners.tests.delivering", *arguments],
        env={**os.environ, "DATABASE_URL": url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> float:
    """Seconds until ``condition`` holds; fails after a minute or if the process ends."""
    started = time.monotonic()
    while not condition():
        assert process.poll() is None
        assert time.monotonic() - started < 60
        time.sleep(0.01)
    return time.monotonic() - started


def _has(sink: Sink, count: int) -> bool:
    return len(sink.requests) >= count


def _endpoints_that_hang(partner: Partner, hanging: Hanging, sink: Sink) -> None:
    for _ in range(HANGING):
        endpoint_of(partner, sink)
    WebhookEndpoint.objects.filter(partner_id=partner.pk).update(url=hanging.url)
    tell(partner, times=3)


@pytest.mark.process
def test_hanging_endpoints_delay_nobody_else(hanging: Hanging, sink: Sink) -> None:
    """160 endpoints of one partner hang; another partner's event arrives within 2 s."""
    _endpoints_that_hang(make_partner(), hanging, sink)
    other = make_partner()
    endpoint_of(other, sink)
    with _delivering() as process:
        _until(lambda: len(hanging.connections) >= PER_PARTNER, process)
        for number in range(1, 4):
            tell(other)
            assert _until(partial(_has, sink, number), process) <= 2
        assert len(hanging.connections) == PER_PARTNER


@pytest.mark.process
def test_the_former_claim_waited_for_them(hanging: Hanging, sink: Sink) -> None:
    """The control: the other partner's event waits until the first posts have timed out."""
    _endpoints_that_hang(make_partner(), hanging, sink)
    other = make_partner()
    endpoint_of(other, sink)
    with _delivering("as_before") as process:
        _until(lambda: len(hanging.connections) >= 16, process)
        tell(other)
        _until(lambda: len(hanging.connections) >= 32, process)  # the first 16 have timed out
        assert sink.requests == []
