"""The fault of what partners are told changes what it names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from partners.models import WebhookDelivery
from partners.tests.factories import make_partner
from partners.tests.sink import Sink, endpoint_of, running_sink, tell
from partners.webhooks.delivery import deliver_due
from quantleap.core import clock
from quantleap.faults.catalogue import FAULTS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as running:
        yield running


def delivered(sink: Sink) -> tuple[int, int, int]:
    """Of five events: deliveries tried, recorded as delivered, and received."""
    sink.requests.clear()
    partner = make_partner()
    endpoint_of(partner, sink)
    tell(partner, times=5)
    tried = deliver_due(now=clock.now())
    recorded = WebhookDelivery.objects.filter(endpoint__partner_id=partner.pk, status="DELIVERED")
    return tried, recorded.count(), len(sink.requests)


def test_skip_webhook_swallows_exactly_one(sink: Sink) -> None:
    assert delivered(sink) == (5, 5, 5)
    with FAULTS["skip_webhook"].planted():
        assert delivered(sink) == (5, 5, 4)
        assert delivered(sink) == (5, 5, 5), "one of each process"
