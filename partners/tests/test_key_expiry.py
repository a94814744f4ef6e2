"""A partner hears 30, 7 and 1 days before a key of theirs expires, once for each step."""

from __future__ import annotations

import datetime as dt

import pytest

from partners.key_expiry import announce_expiring
from partners.models import Partner, PartnerKey
from partners.services import revoke_key
from partners.tests.factories import make_key, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import OutboxEvent
from quantleap.core.tests.parallel import at_once

DAY = dt.timedelta(days=1)


@pytest.fixture
def partner(db: None) -> Partner:
    return make_partner()


def _expiring(partner: Partner, end: dt.datetime, environment: str = "live") -> PartnerKey:
    key = PartnerKey.objects.get(pk=make_key(partner, environment).key_id)
    key.expires_at = end
    key.save(update_fields=["expires_at"])
    return key


def _announced() -> list[int]:
    events = OutboxEvent.objects.filter(type="key.expiring").order_by("id")
    return [event.payload["days_left"] for event in events]


def test_each_step_is_announced_once(partner: Partner) -> None:
    now = clock.now()
    _expiring(partner, now + 40 * DAY)
    for day in range(45):
        for _ in range(2):
            announce_expiring(now=now + day * DAY)
    assert _announced() == [30, 7, 1]


def test_after_skipped_days_only_the_step_that_is_due_counts(partner: Partner) -> None:
    now = clock.now()
    _expiring(partner, now + 5 * DAY)
    announce_expiring(now=now)
    announce_expiring(now=now + DAY)
    assert _announced() == [7]


@pytest.mark.parametrize(
    ("left", "step"),
    [
        (30 * DAY + dt.timedelta(seconds=1), None),
        (30 * DAY, 30),
        (7 * DAY + dt.timedelta(seconds=1), 30),
        (7 * DAY, 7),
        (DAY, 1),
        (dt.timedelta(seconds=1), 1),
        (dt.timedelta(0), None),
    ],
    ids=["before", "thirty", "above-seven", "seven", "one", "last-second", "over"],
)
def test_the_step_depends_on_what_is_left(
    partner: Partner, left: dt.timedelta, step: int | None
) -> None:
    now = clock.now()
    _expiring(partner, now + left)
    announce_expiring(now=now)
    assert _announced() == ([] if step is None else [step])


def test_it_names_the_key_and_belongs_to_its_environment(partner: Partner) -> None:
    now = clock.now()
    key = _expiring(partner, now + DAY, "test")
    announce_expiring(now=now)
    event = OutboxEvent.objects.get(type="key.expiring")
    assert (event.partner_id, event.environment) == (partner.pk, "test")
    assert event.object_id == event.payload["key_id"] == key.public_id
    assert set(event.payload) == {"key_id", "key", "label", "expires_at", "days_left"}


def test_a_revoked_key_is_not_announced(partner: Partner) -> None:
    now = clock.now()
    key = _expiring(partner, now + DAY)
    revoke_key(key_id=key.pk, actor=SYSTEM, now=now)
    assert announce_expiring(now=now) == 0
    assert _announced() == []


@pytest.mark.django_db(transaction=True)
def test_parallel_runs_announce_once() -> None:
    now = clock.now()
    _expiring(make_partner(), now + DAY)
    at_once(4, lambda number: announce_expiring(now=now))
    assert _announced() == [1]
