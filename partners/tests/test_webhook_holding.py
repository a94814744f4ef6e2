"""A disabled endpoint loses nothing, is disabled for good reasons only, and people are informed."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.test import Client

from partners.models import EndpointMail, Partner, WebhookDelivery, WebhookEndpoint
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks import health, mails
from partners.webhooks.delivery import RETRY_AFTER, deliver_due
from partners.webhooks.fanout import fan_out
from partners.webhooks.services import disable_endpoint, enable_endpoint, replay_range
from quantleap.core import clock, outbox, retention
from quantleap.core import mail as queued
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, InvalidTransition
from quantleap.core.models import AuditEntry, OutboxEvent, StaffUser
from quantleap.core.tests.confirming import confirm
from quantleap.core.tests.parallel import somebody_waits

Status = WebhookDelivery.Status
DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def run_out(start: dt.datetime) -> dt.datetime:
    """Try what is due until nothing is any more; when the last try was."""
    at = start
    while due := WebhookDelivery.objects.filter(status=Status.PENDING).order_by("next_attempt_at"):
        at = due[0].next_attempt_at or at
        deliver_due(now=at)
    return at


def disable(endpoint: WebhookEndpoint, reason: str = "the receiver moves") -> None:
    assert disable_endpoint(endpoint_id=endpoint.pk, reason=reason, actor=SYSTEM, now=clock.now())


def received(sink: Sink) -> list[dict[str, Any]]:
    return [json.loads(request.body)["data"] for request in sink.requests]


# -- when ------------------------------------------------------------------------------------------
def test_one_410_disables_nothing_and_is_tried_again(partner: Partner, sink: Sink) -> None:
    """Bug: one 410, which a proxy answered during a deployment, and the endpoint was disabled."""
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 410 if number == 1 else 204
    tell(partner)
    now = clock.now()
    deliver_due(now=now)
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.status, endpoint.failed_tries) == ("ENABLED", 1)
    assert deliver_due(now=now + RETRY_AFTER[0] + SECOND) == 1
    assert WebhookDelivery.objects.get().status == Status.DELIVERED


def test_a_single_503_disables_nothing(partner: Partner, sink: Sink) -> None:
    """Bug: ten tries of one event, two quiet days, one 503 of the next event: disabled."""
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 503 if number <= 11 else 204
    tell(partner)
    last = run_out(clock.now())
    assert WebhookDelivery.objects.get().status == Status.FAILED
    later = last + 3 * DAY
    tell(partner)
    deliver_due(now=later)
    endpoint = WebhookEndpoint.objects.get()
    assert (endpoint.status, endpoint.failed_tries) == ("ENABLED", 1)
    assert endpoint.failing_since is not None
    assert endpoint.failing_since >= later  # a new spell: two days of silence ended the old one
    deliver_due(now=later + RETRY_AFTER[0] + SECOND)
    assert WebhookEndpoint.objects.get().failing_since is None
    assert len(sink.requests) == 12


def test_days_of_failures_and_many_of_them_disable_it(partner: Partner, sink: Sink) -> None:
    """The control: a receiver that is dead for days is left alone in the end."""
    endpoint_of(partner, sink)
    sink.answer = lambda number, request: 410
    start = clock.now()
    for day in range(6):
        assert WebhookEndpoint.objects.get().status == "ENABLED"
        tell(partner, payload={"day": day})
        WebhookDelivery.objects.filter(attempts=0).update(next_attempt_at=start + day * DAY)
        while WebhookDelivery.objects.filter(
            status=Status.PENDING, next_attempt_at__lt=start + (day + 1) * DAY
        ).exists():
            due = WebhookDelivery.objects.filter(status=Status.PENDING).earliest("next_attempt_at")
            assert due.next_attempt_at is not None
            if not deliver_due(now=due.next_attempt_at):
                break
            if WebhookEndpoint.objects.get().status == "DISABLED":
                break
    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.status == "DISABLED"
    assert endpoint.failing_since is not None
    assert endpoint.disabled_at is not None
    assert endpoint.disabled_at - endpoint.failing_since >= health.FAILING_FOR
    assert endpoint.failed_tries >= health.FAILED_TRIES
    assert f"{endpoint.failed_tries} tries failed since" in endpoint.disabled_reason
    assert "answered 410" in endpoint.disabled_reason
    assert not WebhookDelivery.objects.filter(status=Status.PENDING).exists()
    assert WebhookDelivery.objects.filter(status=Status.HELD).exists()
    assert AuditEntry.objects.filter(action="webhook_endpoint.disabled").count() == 1
    assert OutboxEvent.objects.filter(type="webhook_endpoint.disabled").count() == 1


@pytest.mark.parametrize(
    ("days", "tries", "dead"),
    [(5, 30, True), (4.99, 500, False), (400, 29, False), (5, 29, False)],
    ids=["both", "a storm of an hour", "few", "one too few"],
)
def test_both_days_and_tries_are_needed(days: float, tries: int, dead: bool) -> None:
    now = clock.now()
    spell = health.Spell(since=now - days * DAY, last=now, tries=tries)
    assert spell.is_death is dead


def test_no_wait_of_the_ladder_is_a_silence() -> None:
    assert max(RETRY_AFTER) < health.SILENCE
    now = clock.now()
    first = health.after_failure(None, now)
    assert health.after_failure(first, now + health.SILENCE).tries == 2
    assert health.after_failure(first, now + health.SILENCE + DAY).tries == 1


# -- what is kept ----------------------------------------------------------------------------------
def test_events_while_disabled_can_be_replayed_by_range(partner: Partner, sink: Sink) -> None:
    """Bug: later events made 0 rows, and nothing could be replayed."""
    endpoint = endpoint_of(partner, sink).endpoint
    tell(partner, payload={"n": "waiting"})
    disable(endpoint)
    tell(partner, payload={"n": "while disabled"}, times=3)
    assert deliver_due(now=clock.now()) == 0
    held = WebhookDelivery.objects.filter(status=Status.HELD)
    assert held.filter(type="subscription.created").count() == 4
    since, until = clock.now() - DAY, clock.now() + dt.timedelta(seconds=1)
    with pytest.raises(InvalidTransition, match="Enable the endpoint first"):
        replay_range(endpoint_id=endpoint.pk, since=since, until=until, actor=SYSTEM, now=until)
    assert enable_endpoint(endpoint_id=endpoint.pk, actor=SYSTEM, now=clock.now())
    assert deliver_due(now=clock.now()) == 0  # nobody is flooded by enabling alone
    ids = set(held.values_list("event_id", flat=True))
    count = replay_range(
        endpoint_id=endpoint.pk, since=since, until=until, actor=SYSTEM, now=clock.now()
    )
    assert count == len(ids) == 5  # and its own webhook_endpoint.disabled
    assert deliver_due(now=clock.now()) == 5
    assert {request.headers["webhook-id"] for request in sink.requests} == ids
    contents = [data.get("n") for data in received(sink)]
    assert sorted(filter(None, contents)) == ["waiting", *["while disabled"] * 3]
    assert AuditEntry.objects.get(action="webhook_endpoint.replayed").data["count"] == 5


def test_a_replay_takes_exactly_its_range(partner: Partner, sink: Sink) -> None:
    """What had arrived is included only on request."""
    endpoint = endpoint_of(partner, sink).endpoint
    other = endpoint_of(partner, sink).endpoint
    tell(partner, times=4)
    now = clock.now()
    mine = list(endpoint.deliveries.order_by("id"))
    for number, (row, status) in enumerate(
        zip(mine, (Status.HELD, Status.FAILED, Status.DELIVERED, Status.HELD), strict=True)
    ):
        row.status, row.created_at = status, now - number * DAY
        row.save()
    other.deliveries.update(status=Status.HELD)
    whole: dict[str, Any] = {"endpoint_id": endpoint.pk, "actor": SYSTEM, "now": now}
    assert replay_range(since=now - 2 * DAY, until=now, **whole) == 1  # ends before ``until``
    assert replay_range(since=now - 2 * DAY, until=now, delivered=True, **whole) == 1
    soon = now + dt.timedelta(seconds=1)
    assert replay_range(since=now - 3 * DAY, until=soon, **whole) == 2
    assert replay_range(since=now - 3 * DAY, until=soon, **whole) == 0
    assert other.deliveries.filter(status=Status.HELD).count() == 4
    with pytest.raises(InvalidRequest, match="later than the beginning"):
        replay_range(since=now, until=now, **whole)


def test_what_is_held_goes_after_thirty_days_and_nothing_else(partner: Partner, sink: Sink) -> None:
    endpoint = endpoint_of(partner, sink).endpoint
    disable(endpoint)
    tell(partner, times=2)
    now = clock.now()
    old, young = WebhookDelivery.objects.filter(type="subscription.created").order_by("id")
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=now - 30 * DAY - DAY / 24)
    WebhookDelivery.objects.filter(pk=young.pk).update(created_at=now - 30 * DAY + DAY / 24)
    assert retention.purge(now=now)["partners.WebhookDelivery"] == 1
    assert WebhookDelivery.objects.filter(pk=young.pk).exists()


def test_disabling_during_the_relay_leaves_nothing_waiting(partner: Partner, sink: Sink) -> None:
    """Two real transactions: the relay read ENABLED, and the endpoint is disabled meanwhile."""
    endpoint = endpoint_of(partner, sink).endpoint
    with transaction.atomic():
        outbox.emit(
            "subscription.created", {"n": 1}, about="sub_1", partner_id=partner.pk, now=clock.now()
        )
    written, go_on = threading.Event(), threading.Event()

    def relay() -> None:
        try:
            with transaction.atomic():
                fan_out(list(OutboxEvent.objects.all()), clock.now())
                written.set()
                go_on.wait(10)
        finally:
            connection.close()

    def disabling() -> None:
        try:
            disable(endpoint)
        finally:
            connection.close()

    first, second = threading.Thread(target=relay), threading.Thread(target=disabling)
    first.start()
    assert written.wait(10)
    second.start()
    while not somebody_waits():
        assert second.is_alive(), "it did not wait for the rows that are being written"
    go_on.set()
    first.join()
    second.join()
    (row,) = WebhookDelivery.objects.filter(type="subscription.created")
    assert row.status == Status.HELD


# -- who is told -----------------------------------------------------------------------------------
def enabler(name: str, email: str, **fields: Any) -> StaffUser:
    user = StaffUser.objects.create_user(name, email, is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__endswith="webhookendpoint"))
    return user


def test_a_disabled_endpoint_informs_everybody_concerned(partner: Partner, sink: Sink) -> None:
    """Bug: webhook_endpoint.disabled had no type and no handler, and nobody was told."""
    Partner.objects.filter(pk=partner.pk).update(contact_emails=["tech@partner.example"])
    enabler("asha", "asha@installation.example")
    enabler("gone", "gone@installation.example", is_active=False)
    enabler("mute", "")
    StaffUser.objects.create_user("clerk", "clerk@house.example", is_staff=True)
    dead = endpoint_of(partner, sink).endpoint
    endpoint_of(partner, sink)
    disable(dead, "it answers nobody")
    outbox.relay(now=clock.now())
    with transaction.atomic():  # the same events again: nobody is written to twice
        mails.queue_mails(list(OutboxEvent.objects.all()), clock.now())
    assert mails.send_due(now=clock.now()) == 2
    assert mails.send_due(now=clock.now()) == 0
    assert sorted(message.to[0] for message in mail.outbox) == [
        "asha@installation.example",
        "tech@partner.example",
    ]
    for message in mail.outbox:
        assert "disabled" in message.subject
        for words in (dead.url, "it answers nobody", "30 days"):
            assert words in message.body
    assert set(EndpointMail.objects.values_list("status", flat=True)) == {"SENT"}
    assert deliver_due(now=clock.now()) == 1
    body = json.loads(sink.requests[0].body)
    assert body["type"] == "webhook_endpoint.disabled"
    assert body["data"]["endpoint_id"] == dead.public_id
    assert dead.deliveries.get().status == Status.HELD  # it hears of it when it is replayed


def test_staff_are_told_that_a_partner_has_nobody_to_write_to(partner: Partner, sink: Sink) -> None:
    enabler("asha", "asha@installation.example")
    disable(endpoint_of(partner, sink).endpoint)
    outbox.relay(now=clock.now())
    mails.send_due(now=clock.now())
    (only,) = mail.outbox
    assert "no contact address" in only.body


def test_a_failed_mail_does_not_delay_the_others(
    partner: Partner, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    contacts = ["broken@partner.example", "tech@partner.example"]
    Partner.objects.filter(pk=partner.pk).update(contact_emails=contacts)
    disable(endpoint_of(partner, sink).endpoint)
    outbox.relay(now=clock.now())
    real = EmailMessage.send

    def send(self: EmailMessage, *args: Any, **kwargs: Any) -> int:
        if self.to == ["broken@partner.example"]:
            raise OSError("the provider is away")
        return real(self, *args, **kwargs)

    now = clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", send)
        assert mails.send_due(now=now) == 1
    failed = EndpointMail.objects.get(recipient="broken@partner.example")
    assert (failed.status, failed.attempts) == ("PENDING", 1)
    assert failed.last_error == "OSError: the provider is away"
    assert mails.send_due(now=now) == 0
    assert mails.send_due(now=now + queued.RETRY_AFTER[0] + SECOND) == 1


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("root", "root@installation.example", "x"))
    return client


def test_the_first_page_shows_a_disabled_endpoint(
    console: Client, partner: Partner, sink: Sink
) -> None:
    """Until somebody enables it."""
    endpoint = endpoint_of(partner, sink).endpoint
    assert sink.url not in console.get("/admin/").content.decode()
    WebhookEndpoint.objects.update(
        failing_since=clock.now() - 6 * DAY, last_failed_at=clock.now(), failed_tries=41
    )
    disable(endpoint, "41 tries failed")
    page = console.get("/admin/").content.decode()
    assert f"Webhook endpoint of {partner.slug} (live) is disabled" in page
    assert "41 tries failed" in page
    assert sink.url in page
    clerk = Client()
    clerk.force_login(StaffUser.objects.create_user("clerk", is_staff=True))
    assert sink.url not in clerk.get("/admin/").content.decode()
    enable_endpoint(endpoint_id=endpoint.pk, actor=SYSTEM, now=clock.now())
    assert sink.url not in console.get("/admin/").content.decode()


def test_staff_replay_a_range_in_the_console_in_indian_time(
    console: Client, partner: Partner, sink: Sink
) -> None:
    endpoint = endpoint_of(partner, sink).endpoint
    disable(endpoint)
    tell(partner, times=2)
    enable_endpoint(endpoint_id=endpoint.pk, actor=SYSTEM, now=clock.now())
    at = dt.datetime(2026, 9, 8, 3, 45, tzinfo=dt.UTC)  # 09:15 in India
    WebhookDelivery.objects.filter(type="subscription.created").update(created_at=at)
    url = f"/admin/partners/webhookendpoint/{endpoint.pk}/replay-range/"
    assert "3 deliveries are held" in console.get(url).content.decode()
    newest = endpoint.deliveries.get(type="webhook_endpoint.disabled").created_at
    after = clock.to_ist(newest) + dt.timedelta(minutes=1)
    for offered in ("2026-09-08 09:15", f"{after:%Y-%m-%d %H:%M}"):
        assert f'value="{offered}"' in console.get(url).content.decode(), "all that is held"
    form = {"since": "2026-09-08 09:15", "until": "2026-09-08 09:16", "again": "yes"}
    asked = console.post(url, {"confirm": "yes", **form, "again": ""})
    assert "8 Sep 2026, 09:15:00 IST" in asked.content.decode()
    done = confirm(console, url, form, follow=True)
    assert "2 deliveries are sent again" in done.content.decode()
    assert deliver_due(now=clock.now()) == 2
    assert len(sink.requests) == 2
    assert "1 delivery is held" in console.get(url).content.decode()
    backwards = form | {"until": "2026-09-08 09:15"}
    assert "later than the beginning" in confirm(console, url, backwards).content.decode()


def test_a_mail_is_sent_again_from_its_page(console: Client, partner: Partner, sink: Sink) -> None:
    disable(endpoint_of(partner, sink).endpoint)
    outbox.relay(now=clock.now())
    mails.send_due(now=clock.now())
    row = EndpointMail.objects.get()
    url = f"/admin/partners/endpointmail/{row.pk}/send-again/"
    confirm(console, url)
    assert mails.send_due(now=clock.now()) == 1
    assert len(mail.outbox) == 2
