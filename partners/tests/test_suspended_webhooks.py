"""No customer data goes to a suspended partner, and nothing is lost.

Bug: a suspended partner kept receiving webhooks with ``user_email``.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from partners.models import Partner, WebhookDelivery, WebhookEndpoint
from partners.suspensions import reinstate_partner, suspend_partner
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks import fanout
from partners.webhooks.delivery import deliver_due
from partners.webhooks.services import replay, replay_range
from quantleap.core import clock, outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidTransition
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.parallel import somebody_waits

Status = WebhookDelivery.Status
PERSONAL = {"subscription_id": "sub_1", "user_email": "asha@example.com"}
HOUR = dt.timedelta(hours=1)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


@pytest.fixture
def partner() -> Partner:
    return make_partner()


def suspend(partner: Partner) -> None:
    suspend_partner(
        partner_id=partner.pk,
        plan=Partner.Plan.PAUSE_ALL,
        reason="complaints",
        actor=SYSTEM,
        now=clock.now(),
    )


def reinstate(partner: Partner) -> None:
    reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=clock.now())


def states() -> list[str]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("status", flat=True))


def send(sink: Sink) -> int:
    """Deliver whatever is due within the next days; how many requests came in, ever."""
    for ahead in range(0, 100, 10):
        deliver_due(now=clock.now() + ahead * HOUR)
    return len(sink.requests)


def test_a_suspended_partner_still_got_webhooks_with_user_email(
    partner: Partner, sink: Sink
) -> None:
    endpoint = endpoint_of(partner, sink).endpoint
    control = make_partner()
    endpoint_of(control, sink)
    tell(partner, payload=PERSONAL)  # before, and not sent yet
    suspend(partner)
    tell(partner, payload=PERSONAL, about="sub_2")
    tell(control, payload={"number": 1})
    assert send(sink) == 1  # the control's
    assert b"user_email" not in sink.requests[0].body
    held = endpoint.deliveries.order_by("pk")
    assert [(delivery.status, delivery.last_error) for delivery in held] == [
        (Status.HELD, "partner suspended"),
        (Status.HELD, "partner suspended"),
    ]


def test_held_deliveries_are_sent_by_a_replay(partner: Partner, sink: Sink) -> None:
    endpoint = endpoint_of(partner, sink).endpoint
    suspend(partner)
    tell(partner, payload=PERSONAL)
    reinstate(partner)
    assert send(sink) == 0  # not by itself
    now = clock.now()
    count = replay_range(
        endpoint_id=endpoint.pk, since=now - HOUR, until=now + HOUR, actor=SYSTEM, now=now
    )
    assert (count, send(sink)) == (1, 1)
    assert sink.requests[0].headers["webhook-id"] == OutboxEvent.objects.latest("pk").event_id
    tell(partner, payload=PERSONAL, about="sub_2")
    assert send(sink) == 2  # and what comes from now on


def test_nothing_is_replayed_to_a_suspended_partner(partner: Partner, sink: Sink) -> None:
    endpoint = endpoint_of(partner, sink).endpoint
    tell(partner, payload=PERSONAL)
    suspend(partner)
    now = clock.now()
    with pytest.raises(InvalidTransition, match="partner is suspended"):
        replay_range(
            endpoint_id=endpoint.pk, since=now - HOUR, until=now + HOUR, actor=SYSTEM, now=now
        )
    with pytest.raises(InvalidTransition, match="partner is suspended"):
        replay(delivery_id=WebhookDelivery.objects.get().pk, actor=SYSTEM, now=now)
    assert states() == [Status.HELD]


def test_an_endpoint_added_meanwhile_receives_nothing(partner: Partner, sink: Sink) -> None:
    suspend(partner)
    endpoint_of(partner, sink)
    tell(partner, payload=PERSONAL)
    assert (send(sink), states()) == (0, [Status.HELD])


def test_the_sender_asks_again_whatever_a_row_says(partner: Partner, sink: Sink) -> None:
    """A delivery that somehow waits still is not sent while the partner is suspended."""
    endpoint_of(partner, sink)
    suspend(partner)
    tell(partner, payload=PERSONAL)
    now = clock.now()
    WebhookDelivery.objects.update(status=Status.PENDING, next_attempt_at=now)
    assert send(sink) == 0
    reinstate(partner)
    assert send(sink) == 1  # the control


def suspend_beside(partner: Partner) -> None:
    suspend(partner)
    connections.close_all()


def relayed_while_it_is_suspended(partner: Partner) -> list[str]:
    """The relay has written deliveries and not committed them, and somebody suspends."""
    with transaction.atomic():
        outbox.emit(
            "subscription.created",
            PERSONAL,
            about="sub_1",
            partner_id=partner.pk,
            environment="live",
            now=clock.now(),
        )
    beside = threading.Thread(target=suspend_beside, args=[partner])
    with transaction.atomic():
        fanout.fan_out(list(OutboxEvent.objects.all()), clock.now())
        beside.start()
        while beside.is_alive() and not somebody_waits():
            pass
    beside.join()
    return states()


def test_what_the_relay_is_writing_at_that_moment_is_held(partner: Partner, sink: Sink) -> None:
    endpoint_of(partner, sink)
    assert relayed_while_it_is_suspended(partner) == [Status.HELD]


def test_control_without_locks_a_delivery_stays_waiting(
    partner: Partner, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay then misses the endpoint's disabling."""
    endpoint_of(partner, sink)
    plain = WebhookEndpoint.objects.all()
    monkeypatch.setattr(
        type(WebhookEndpoint.objects), "select_for_update", lambda *args, **kwargs: plain.all()
    )
    assert relayed_while_it_is_suspended(partner) == [Status.PENDING]
