"""Pause, resume and cancel: what the trading day is told, anchors, withdrawal, removed accounts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from brokers.services.accounts import remove_account
from brokers.tests.factories import make_account
from marketplace.models import TemplateStats
from marketplace.ports import SUBSCRIBERS
from marketplace.services import withdraw
from marketplace.tests.factories import (
    TEST_NOW,
    load_reference_data,
    make_template,
)
from partners.tests.factories import make_customer, make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import NotFound
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import ports, services
from subscriptions.models import Allocation, Subscription
from subscriptions.tests.factories import make_subscription, subscribe_many

LATER = TEST_NOW + dt.timedelta(hours=1)


class RecordingGate:
    """Notes what it is asked, and in which state the row was then."""

    def __init__(self) -> None:
        self.affected = True
        self.open = 1
        self.calls: list[tuple[Any, ...]] = []

    def withdraw_armed(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> bool:
        assert connection.in_atomic_block
        statuses = set(
            Subscription.objects.filter(pk__in=subscription_ids).values_list("status", flat=True)
        )
        self.calls.append(("withdraw", tuple(subscription_ids), reason, now, statuses))
        return self.affected

    def request_exit(
        self, subscription_ids: Collection[int], *, reason: str, now: dt.datetime
    ) -> int:
        self.calls.append(("exit", tuple(subscription_ids), reason, now))
        return self.open


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> RecordingGate:
    recording = RecordingGate()
    monkeypatch.setattr(ports.ENTRY_GATE, "_implementation", recording)
    return recording


@pytest.fixture
def subscription(db: None) -> Subscription:
    load_reference_data()
    return make_subscription(make_template(), make_partner(), now=TEST_NOW)


def arguments(subscription: Subscription, **more: Any) -> dict[str, Any]:
    return {
        "subscription_id": subscription.pk,
        "actor": SYSTEM,
        "reason": "USER",
        "now": LATER,
        **more,
    }


# -- what the trading day is told ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("leave", "status"), [(services.pause, "PAUSED"), (services.cancel, "CANCELLED")]
)
@pytest.mark.parametrize("affected", [True, False])
def test_leaving_withdraws_what_is_armed_in_its_transaction(
    subscription: Subscription, gate: RecordingGate, leave: Any, status: str, affected: bool
) -> None:
    gate.affected = affected
    result = leave(**arguments(subscription))
    assert (result.changed, result.next_entry_affected) == (True, affected)
    # after the row's own change: whoever arms next reads it, whoever armed before is withdrawn
    assert gate.calls == [("withdraw", (subscription.pk,), status, LATER, {status})]


def test_exit_now_asks_for_the_exit_and_says_so(
    subscription: Subscription, gate: RecordingGate
) -> None:
    services.pause(**arguments(subscription, open_positions="EXIT_NOW"))
    assert [call[0] for call in gate.calls] == ["withdraw", "exit"]
    entry = AuditEntry.objects.get(action="subscription.exit_requested")
    assert entry.data == {"executions": 1}


def test_exit_now_on_a_paused_subscription_only_exits(
    subscription: Subscription, gate: RecordingGate
) -> None:
    services.pause(**arguments(subscription))
    gate.calls.clear()
    result = services.pause(**arguments(subscription, open_positions="EXIT_NOW"))
    assert (result.changed, result.next_entry_affected) == (False, False)
    assert [call[0] for call in gate.calls] == ["exit"]
    assert OutboxEvent.objects.filter(type="subscription.paused").count() == 1


def test_resuming_tells_nobody_of_the_day(subscription: Subscription, gate: RecordingGate) -> None:
    services.pause(**arguments(subscription))
    gate.calls.clear()
    assert services.resume(**arguments(subscription)).changed
    assert gate.calls == []


def test_a_refusal_by_the_day_leaves_the_subscription_as_it_was(
    subscription: Subscription, gate: RecordingGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> bool:
        raise NotFound

    monkeypatch.setattr(gate, "withdraw_armed", broken)
    with pytest.raises(NotFound):
        services.cancel(**arguments(subscription))
    subscription.refresh_from_db()
    assert subscription.status == "ACTIVE"
    assert not OutboxEvent.objects.filter(type="subscription.cancelled").exists()


def test_what_is_told_of_a_pause(subscription: Subscription) -> None:
    services.pause(**arguments(subscription, note="  on holiday  "))
    event = OutboxEvent.objects.get(type="subscription.paused")
    assert event.partner_id == subscription.partner_id
    assert event.payload["status"] == "PAUSED"
    assert event.payload["status_reason"] == "USER"
    assert event.payload["reason"] == "on holiday"
    assert AuditEntry.objects.get(action="subscription.paused").data["note"] == "on holiday"


def test_an_unknown_subscription(db: None) -> None:
    with pytest.raises(NotFound):
        services.pause(subscription_id=0, actor=SYSTEM, reason="USER", now=LATER)


# -- anchors -------------------------------------------------------------------------------------
def test_a_long_pause_begins_a_new_segment(subscription: Subscription) -> None:
    anchor = subscription.anchor
    services.pause(**arguments(subscription))
    services.resume(**arguments(subscription, now=LATER + dt.timedelta(days=10)))
    subscription.refresh_from_db()
    assert subscription.anchor == anchor
    services.pause(**arguments(subscription, now=LATER + dt.timedelta(days=11)))
    resumed_at = LATER + dt.timedelta(days=60)
    services.resume(**arguments(subscription, now=resumed_at))
    subscription.refresh_from_db()
    assert subscription.anchor == resumed_at.date()


# -- withdrawal ----------------------------------------------------------------------------------
def test_withdrawing_cancels_everybody_and_tells_everybody(
    subscription: Subscription, gate: RecordingGate
) -> None:
    template = subscription.template
    paused = make_subscription(template, None)
    services.pause(**arguments(paused))
    cancelled = make_subscription(template, make_partner())
    services.cancel(**arguments(cancelled))
    other = make_subscription(make_template(), make_partner())
    gate.calls.clear()
    assert SUBSCRIBERS.get().count(template.pk) == 2
    result = withdraw(template_id=template.pk, actor=SYSTEM, now=LATER)
    assert result.cancelled == 2
    assert [call[:2] for call in gate.calls] == [("withdraw", (subscription.pk, paused.pk))]
    for ended in (subscription, paused):
        ended.refresh_from_db()
        assert (ended.status, ended.status_reason) == ("CANCELLED", "TEMPLATE_WITHDRAWN")
        assert ended.cancelled_at == LATER
    other.refresh_from_db()
    assert other.status == "ACTIVE"
    assert TemplateStats.objects.get(template=template).subscriber_count == 0
    events = OutboxEvent.objects.filter(
        type="subscription.cancelled", payload__status_reason="TEMPLATE_WITHDRAWN"
    )
    assert {event.payload["subscription_id"] for event in events} == {
        subscription.public_id,
        paused.public_id,
    }
    assert (
        AuditEntry.objects.filter(
            action="subscription.cancelled", data__status_reason="TEMPLATE_WITHDRAWN"
        ).count()
        == 2
    )
    assert not withdraw(template_id=template.pk, actor=SYSTEM, now=LATER).changed


def test_withdrawing_takes_as_many_queries_for_many_as_for_few(
    db: None, django_assert_max_num_queries: Any
) -> None:
    load_reference_data()
    template = make_template()
    subscribe_many(template, 120)
    with django_assert_max_num_queries(16):
        assert SUBSCRIBERS.get().cancel_for_withdrawal(template.pk, actor=SYSTEM, now=LATER) == 120


# -- removed accounts ----------------------------------------------------------------------------
def test_a_removed_account_trades_for_nobody(db: None) -> None:
    load_reference_data()
    partner = make_partner()
    customer = make_customer(partner)
    account = make_account(customer, client_id="Z9")
    mine = make_subscription(
        make_template(), partner, email=customer.email, client_id="Z9", lot_multiplier=Decimal(2)
    )
    remove_account(account=account, exit_now=False, actor=SYSTEM, now=LATER)
    allocation = Allocation.objects.get()
    assert allocation.status == "REMOVED"
    mine.refresh_from_db()
    assert (mine.status, mine.status_reason) == ("PAUSED", "USER")  # it was the last one
