"""Every growing table is listed, and expired rows are deleted: those, and nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session

from brokers.models import ContractListImport, FeedLogin
from brokers.tests.factories import make_feed
from partners.models import WebhookDelivery, WebhookEndpoint
from partners.tests.factories import make_tenant
from quantleap.core import retention
from quantleap.core.models import OutboxEvent

NOW = dt.datetime(2026, 9, 8, 4, 0, tzinfo=dt.UTC)


def all_rules() -> set[str]:
    purged = {rule.label for rule in retention.PURGED}
    return purged | retention.SHORT_LIVED | retention.KEPT | retention.STANDING


def models() -> dict[str, type[Any]]:
    """Every table of the project, by the model that owns it."""
    tables = apps.get_models(include_auto_created=True)
    return {model._meta.label: model for model in tables if not model._meta.proxy}


def test_no_table_grew_without_a_word_of_how_it_ends() -> None:
    assert all_rules() == set(models())


def test_each_table_is_named_once() -> None:
    groups = [retention.SHORT_LIVED, retention.KEPT, retention.STANDING]
    purged = {rule.label for rule in retention.PURGED}  # one that is purged may have several rules
    total = len(purged) + sum(len(group) for group in groups)
    assert total == len(all_rules())


def days_ago(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


def event(**fields: Any) -> OutboxEvent:
    return OutboxEvent.objects.create(type="x", object_id="x", created_at=days_ago(200), **fields)


@pytest.mark.django_db
def test_what_is_over_goes_and_what_waits_stays() -> None:
    event(published_at=days_ago(91))
    kept_events = [event(published_at=days_ago(89)), event(published_at=None)]
    tenant = make_tenant()
    endpoint = WebhookEndpoint.objects.create(
        partner_id=tenant.partner.pk, environment="live", url="https://example.com/hook"
    )
    rows = [
        WebhookDelivery(
            partner_id=tenant.partner.pk,
            environment="live",
            endpoint=endpoint,
            event_id=f"evt_{number}",
            type="x",
            body="{}",
            status=status,
            next_attempt_at=NOW,
            created_at=days_ago(age),
        )
        for number, (status, age) in enumerate(
            [("DELIVERED", 91), ("FAILED", 91), ("PENDING", 91), ("DELIVERED", 89)]
        )
    ]
    WebhookDelivery.objects.bulk_create(rows)
    Session.objects.create(session_key="old", session_data="", expire_date=days_ago(0.1))
    Session.objects.create(session_key="live", session_data="", expire_date=days_ago(-1))
    feed = make_feed()
    for number, age in enumerate((31, 29)):
        FeedLogin.objects.create(
            feed=feed, session_hash="s", state_hash=str(number), expires_at=days_ago(age)
        )
    for age, state in ((401, "DONE"), (399, "DONE")):
        ContractListImport.objects.create(
            broker="zebu",
            exchange="NFO",
            trade_date=days_ago(age).date(),
            asked_by="x",
            state=state,
            finished_at=days_ago(age),
        )
    deleted = retention.purge(now=NOW, batch=1)
    assert deleted == {
        "core.OutboxEvent": 1,
        "partners.WebhookDelivery": 2,
        "sessions.Session": 1,
        "brokers.FeedLogin": 1,
        "brokers.ContractListImport": 1,
    }
    assert list(OutboxEvent.objects.filter(type="x").order_by("pk")) == kept_events
    assert set(WebhookDelivery.objects.values_list("event_id", flat=True)) == {"evt_2", "evt_3"}
    assert list(Session.objects.values_list("session_key", flat=True)) == ["live"]
    assert retention.purge(now=NOW) == {}
