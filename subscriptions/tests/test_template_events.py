"""Events about a template reach the partners that offer it or whose customers follow it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from marketplace import services
from marketplace.models import Template
from marketplace.tests.factories import make_short_straddle
from partners.models import Partner, WebhookDelivery
from partners.tests.factories import make_tenant
from partners.tests.sink import Sink, endpoint_of, running_sink
from quantleap.core import clock, outbox
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def _deliveries(kind: str) -> dict[int | None, str]:
    """Partner and environment of each delivery of a type."""
    outbox.relay(now=clock.now())
    rows = WebhookDelivery.objects.filter(type=kind)
    assert rows.count() == len(set(rows.values_list("endpoint_id", flat=True)))
    return dict(rows.values_list("partner_id", "environment"))


def _everything(template: Template) -> None:
    now = clock.now()
    assert services.close_to_new(template_id=template.pk, actor=SYSTEM, now=now)
    assert services.reopen(template_id=template.pk, actor=SYSTEM, now=now)
    assert services.withdraw(template_id=template.pk, actor=SYSTEM, now=now).changed


KINDS = ("template.published", "template.closed", "template.reopened", "template.withdrawn")


def _partner(sink: Sink, slug: str) -> Partner:
    partner = make_tenant(slug).partner
    endpoint_of(partner, sink)
    endpoint_of(partner, sink, environment="test")
    return partner


def test_a_public_template_concerns_every_partner(sink: Sink) -> None:
    first, second = _partner(sink, "first"), _partner(sink, "second")
    template = make_short_straddle()
    _everything(template)
    for kind in KINDS:
        assert _deliveries(kind) == {first.pk: "live", second.pk: "live"}, kind


def test_chosen_partners_and_followers_are_concerned(sink: Sink) -> None:
    """A partner whose customers follow it hears of it although it is not chosen any more."""
    chosen, follower, other = (_partner(sink, slug) for slug in ("chosen", "follower", "other"))
    template = make_short_straddle()
    OutboxEvent.objects.all().delete()
    make_subscription(template, follower)
    Template.objects.filter(pk=template.pk).update(
        visibility=Template.Visibility.PARTNERS, visible_to=[chosen.pk]
    )
    _everything(template)
    for kind in KINDS[1:]:
        assert set(_deliveries(kind)) == {chosen.pk, follower.pk}, kind
    assert other.pk not in set(WebhookDelivery.objects.values_list("partner_id", flat=True))


def test_a_private_template_concerns_nobody_who_does_not_follow_it(sink: Sink) -> None:
    _partner(sink, "someone")
    template = make_short_straddle()
    OutboxEvent.objects.all().delete()
    Template.objects.filter(pk=template.pk).update(visibility=Template.Visibility.PRIVATE)
    _everything(template)
    assert all(_deliveries(kind) == {} for kind in KINDS)


def test_a_partners_event_says_nothing_about_others(sink: Sink) -> None:
    """Neither the number of everybody's subscriptions nor the note of our staff."""
    partner = _partner(sink, "first")
    template = make_short_straddle()
    _everything(template)
    events = OutboxEvent.objects.filter(partner_id=partner.pk, type__startswith="template.")
    members = {event.type: set(event.payload) for event in events}
    common = {"template_id", "name"}
    assert members == {**dict.fromkeys(KINDS, common), KINDS[0]: common | {"version"}}
