"""From a change to a partner's server: outbox, deliveries, signed posts, retries."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from standardwebhooks import Webhook, WebhookVerificationError

from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks import delivery
from partners.webhooks.claims import CLAIM, claim
from partners.webhooks.delivery import RETRY_AFTER, deliver_due, record
from partners.webhooks.fanout import fan_out
from partners.webhooks.http import Outcome, Sender
from partners.webhooks.services import (
    Replay,
    disable_endpoint,
    replay,
    rotate_secret,
    secrets_in_force,
)
from quantleap.core import clock, outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.crypto import DecryptionError
from quantleap.core.errors import InvalidRequest, InvalidTransition
from quantleap.core.models import OutboxEvent

Status = WebhookDelivery.Status
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def test_an_event_arrives_signed_as_the_standard_says(partner: Partner, sink: Sink) -> None:
    created = endpoint_of(partner, sink)
    tell(partner, payload={"subscription_id": "sub_1", "monthly_fee": 999})
    assert deliver_due(now=clock.now()) == 1
    request = sink.requests[0]
    body = Webhook(created.secret).verify(request.body, request.headers)
    assert body["type"] == "subscription.created"
    assert body["data"] == {"subscription_id": "sub_1", "monthly_fee": 999}
    assert request.headers["webhook-id"] == OutboxEvent.objects.get().event_id
    assert request.headers["content-type"] == "application/json"
    sent = WebhookDelivery.objects.get()
    assert (sent.status, sent.attempts, sent.last_status_code) == (Status.DELIVERED, 1, 204)
    with pytest.raises(WebhookVerificationError):
        Webhook(created.secret).verify(request.body + b" ", request.headers)


def test_a_failed_execution_repeats_its_members_at_the_top(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    failure = {
        "subscription_id": "sub_1",
        "user_email": "a@b.in",
        "error": "Insufficient margin",
        "broker_response": {"code": "MARGIN", "message": "RMS: shortfall"},
        "run": "run_1",
        "leg": "SELL CE ATM WEEKLY",
    }
    tell(partner, "execution.failed", failure)
    deliver_due(now=clock.now())
    body = json.loads(sink.requests[0].body)
    assert body["event"] == "execution_failed"
    assert body["type"] == "execution.failed"
    assert body["data"] == failure
    assert {name: body[name] for name in failure} == failure


def test_only_whom_it_concerns_is_told(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink, environment="test")
    endpoint_of(make_partner(), sink)
    endpoint_of(partner, sink, events=["execution.failed"])
    tell(None)  # a direct customer's
    tell(partner)  # wrong environment, other partner, unwanted type
    tell(partner, "something.internal")
    assert WebhookDelivery.objects.count() == 0
    tell(partner, environment="test")
    assert WebhookDelivery.objects.get().environment == "test"


def test_fan_out_is_idempotent_in_three_queries(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    endpoint_of(partner, sink)
    tell(partner, "template.published", times=50)  # of no object that a room shows
    events = list(OutboxEvent.objects.all())
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        fan_out(events, clock.now())
    assert WebhookDelivery.objects.count() == 100
    assert len([query for query in captured if "SAVEPOINT" not in query["sql"]]) == 3


def test_a_rolled_back_change_tells_nothing(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    with transaction.atomic():
        outbox.emit(
            "subscription.created", {}, about="sub_1", partner_id=partner.pk, now=clock.now()
        )
        transaction.set_rollback(True)
    assert outbox.relay(now=clock.now()) == 0


def test_the_ladder_of_tries_is_the_documented_one(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 500
    tell(partner)
    now = clock.now()
    seen: list[float] = []
    while WebhookDelivery.objects.get().status == Status.PENDING:
        due = WebhookDelivery.objects.get().next_attempt_at
        assert due is not None
        assert deliver_due(now=due - dt.timedelta(milliseconds=1)) == 0
        seen.append((due - now).total_seconds())
        now = due
        assert deliver_due(now=due) == 1
        assert WebhookEndpoint.objects.get().status == "ENABLED"
    rounded = [round(wait) for wait in seen]
    assert rounded == [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    failed = WebhookDelivery.objects.get()
    assert (failed.status, failed.attempts, failed.last_error) == (
        Status.FAILED,
        10,
        "answered 500",
    )
    ids = {request.headers["webhook-id"] for request in sink.requests}
    assert (len(sink.requests), len(ids)) == (10, 1)


def test_success_ends_the_failing_and_a_replay_sends_the_same_id(
    partner: Partner, sink: Sink
) -> None:
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 503 if number == 1 else 200
    tell(partner)
    now = clock.now()
    deliver_due(now=now)
    assert WebhookEndpoint.objects.get().failing_since is not None
    waiting = WebhookDelivery.objects.get()
    deliver_due(now=now + dt.timedelta(seconds=6))
    assert WebhookEndpoint.objects.get().failing_since is None
    assert replay(delivery_id=waiting.pk, actor=SYSTEM, now=now) is Replay.AGAIN
    assert deliver_due(now=now + dt.timedelta(seconds=7)) == 1
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 1
    assert WebhookDelivery.objects.get().status == Status.DELIVERED


def test_a_pending_retry_is_made_now_when_asked_for(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 503 if number <= 2 else 200
    tell(partner)
    now = clock.now()
    deliver_due(now=now)
    deliver_due(now=now + dt.timedelta(seconds=6))  # the next one is five minutes away
    later = now + dt.timedelta(seconds=7)
    assert deliver_due(now=later) == 0
    waiting = WebhookDelivery.objects.get()
    assert replay(delivery_id=waiting.pk, actor=SYSTEM, now=later) is Replay.NOW
    assert deliver_due(now=later) == 1
    waiting.refresh_from_db()
    assert (waiting.status, waiting.attempts) == (Status.DELIVERED, 3)
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 1


def test_what_is_under_way_is_not_sent_a_second_time(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    tell(partner)
    now = clock.now()
    (claimed,) = claim(now=now, limit=1)
    with pytest.raises(InvalidTransition, match="right now"):
        replay(delivery_id=claimed.id, actor=SYSTEM, now=now)
    assert claim(now=now, limit=1) == []
    # whoever had claimed it died: the claim has run out
    after = claimed.until
    assert replay(delivery_id=claimed.id, actor=SYSTEM, now=after) is Replay.NOW


def test_redirects_are_not_followed(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    sink.answer, sink.location = lambda number, request: 302, sink.url + "/elsewhere"
    tell(partner)
    deliver_due(now=clock.now())
    assert [request.path for request in sink.requests] == ["/hook"]
    assert WebhookDelivery.objects.get().last_error == "redirects are not followed"


def test_a_receiver_that_is_not_there_is_tried_again(partner: Partner, sink: Sink) -> None:
    created = endpoint_of(partner, sink)
    WebhookEndpoint.objects.filter(pk=created.endpoint.pk).update(url="http://127.0.0.1:9/hook")
    tell(partner)
    deliver_due(now=clock.now())
    waiting = WebhookDelivery.objects.get()
    assert (waiting.status, waiting.last_status_code) == (Status.PENDING, None)
    assert "Connect" in waiting.last_error


def test_two_secrets_sign_during_a_rotation(partner: Partner, sink: Sink) -> None:
    old = endpoint_of(partner, sink)
    now = clock.now()
    new = rotate_secret(endpoint_id=old.endpoint.pk, actor=SYSTEM, now=now)
    tell(partner)
    deliver_due(now=clock.now())
    request = sink.requests[0]
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(request.body, request.headers)
    tell(partner)
    deliver_due(now=now + dt.timedelta(hours=25))
    request = sink.requests[1]
    Webhook(new.secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old.secret).verify(request.body, request.headers)


def test_secrets_are_encrypted_at_rest(partner: Partner, sink: Sink) -> None:
    created = endpoint_of(partner, sink)
    rotate_secret(endpoint_id=created.endpoint.pk, actor=SYSTEM, now=clock.now())
    row = WebhookEndpoint.objects.get()
    assert "whsec_" not in row.secret + row.previous_secret
    # A ciphertext moved to another column of the same row.
    row.secret = row.previous_secret
    with pytest.raises(DecryptionError):
        secrets_in_force(row, clock.now())


def test_an_unreadable_secret_fails_its_delivery_and_no_other(partner: Partner, sink: Sink) -> None:
    broken = endpoint_of(partner, sink)
    endpoint_of(partner, sink)
    WebhookEndpoint.objects.filter(pk=broken.endpoint.pk).update(secret="v1:gone:AA:AA")
    tell(partner)
    assert deliver_due(now=clock.now()) == 2
    errors = WebhookDelivery.objects.order_by("endpoint_id").values_list("status", "last_error")
    assert list(errors) == [
        (Status.PENDING, "the signing secret cannot be read"),
        (Status.DELIVERED, ""),
    ]


class TestClaims:
    """At least once, whoever dies; once, while nobody does."""

    def test_killed_between_sending_and_recording_is_sent_again(
        self, partner: Partner, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        endpoint_of(partner, sink)
        tell(partner)
        now = clock.now()

        def killed(*args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(delivery, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                deliver_due(now=now)
        assert len(sink.requests) == 1
        assert deliver_due(now=now + CLAIM - dt.timedelta(seconds=1)) == 0
        assert deliver_due(now=now + CLAIM) == 1
        ids = {request.headers["webhook-id"] for request in sink.requests}
        assert (len(sink.requests), len(ids)) == (2, 1)
        assert WebhookDelivery.objects.get().status == Status.DELIVERED

    def test_a_late_result_does_not_overwrite_the_second_claim(
        self, partner: Partner, sink: Sink
    ) -> None:
        endpoint_of(partner, sink)
        tell(partner)
        now = clock.now()
        first = claim(now=now, limit=10)
        second = claim(now=now + CLAIM, limit=10)
        assert [claimed_row.attempt for claimed_row in first + second] == [1, 2]
        record([(first[0], Outcome(500, "late"))], now=now)
        row = WebhookDelivery.objects.get()
        assert (row.claimed_until, row.last_error) == (second[0].until, "")
        record([(second[0], Outcome(200))], now=now)
        assert WebhookDelivery.objects.get().status == Status.DELIVERED

    def test_parallel_senders_never_claim_the_same_delivery(
        self, partner: Partner, sink: Sink
    ) -> None:
        endpoint_of(partner, sink)
        tell(partner, times=200)
        now, barrier = clock.now(), threading.Barrier(4)
        claimed: list[list[int]] = [[] for _ in range(4)]

        def work(number: int) -> None:
            barrier.wait()
            try:
                while batch := claim(now=now, limit=7):
                    claimed[number] += [claimed_row.id for claimed_row in batch]
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        every = [delivery_id for batch in claimed for delivery_id in batch]
        assert len(every) == len(set(every)) == 200

    def test_a_second_run_leaves_the_work_to_the_first(self, partner: Partner, sink: Sink) -> None:
        endpoint_of(partner, sink)
        entered, go_on = threading.Event(), threading.Event()

        def slow(number: int, request: object) -> int:
            entered.set()
            go_on.wait(10)
            return 204

        sink.answer = slow
        tell(partner)

        def run() -> None:
            try:
                deliver_due(now=clock.now())
            finally:
                connection.close()

        first = threading.Thread(target=run)
        first.start()
        assert entered.wait(10)
        with CaptureQueriesContext(connection) as captured:
            assert deliver_due(now=clock.now()) == 0
        go_on.set()
        first.join()
        assert len(captured) == 0
        assert len(sink.requests) == 1

    def test_nothing_due_costs_one_query(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            assert deliver_due(now=clock.now()) == 0
        assert len(captured) == 1

    def test_no_transaction_is_open_while_posting(
        self, partner: Partner, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        endpoint_of(partner, sink)
        tell(partner, times=20)
        states: list[bool] = []
        real = Sender.post

        def watched(*args: Any, **kwargs: Any) -> Any:
            states.append(connection.in_atomic_block)
            return real(*args, **kwargs)

        monkeypatch.setattr(Sender, "post", watched)
        assert deliver_due(now=clock.now()) == 20
        assert states
        assert not any(states)

    def test_many_deliveries_all_arrive_once(self, partner: Partner, sink: Sink) -> None:
        endpoint_of(partner, sink)
        tell(partner, times=300)
        assert deliver_due(now=clock.now(), limit=100) == 100
        assert deliver_due(now=clock.now()) == 200
        assert len({request.headers["webhook-id"] for request in sink.requests}) == 300
        assert len(sink.requests) == 300

    def test_a_disabled_endpoint_is_not_claimed(self, partner: Partner, sink: Sink) -> None:
        created = endpoint_of(partner, sink)
        tell(partner)
        endpoint_id = created.endpoint.pk
        WebhookEndpoint.objects.filter(pk=endpoint_id).update(status="DISABLED")
        assert deliver_due(now=clock.now()) == 0
        WebhookEndpoint.objects.filter(pk=endpoint_id).update(status="ENABLED")
        now = clock.now()
        assert disable_endpoint(endpoint_id=endpoint_id, reason="x", actor=SYSTEM, now=now)
        assert not disable_endpoint(endpoint_id=endpoint_id, reason="x", actor=SYSTEM, now=now)
        with pytest.raises(InvalidTransition, match="enable the endpoint first"):
            replay(delivery_id=WebhookDelivery.objects.get().pk, actor=SYSTEM, now=now)


@pytest.mark.parametrize("events", [["subscription.create"], ["*"]])
def test_an_unknown_event_cannot_be_asked_for(
    partner: Partner, sink: Sink, events: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        endpoint_of(partner, sink, events=events)
    assert "events" in caught.value.details


def test_the_tries_are_ten() -> None:
    assert len(RETRY_AFTER) == 9
