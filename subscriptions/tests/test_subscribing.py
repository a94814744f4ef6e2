"""Subscribing: what an answer holds, what is stored, what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from brokers.models import BrokerAccount
from brokers.tests.factories import make_account
from marketplace.models import Price, Template, TemplateStats
from marketplace.services import close_to_new, withdraw
from marketplace.tests.factories import TEST_NOW, leg_spec, load_reference_data, make_template
from partners.models import Customer, RevenueShare
from partners.tests.factories import (
    Tenant,
    customer_client,
    make_customer,
    make_partner,
    make_tenant,
)
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from quantleap.core.tenancy import Environment
from subscriptions.models import Allocation, Subscription
from subscriptions.tests.factories import make_subscription

URL = "/partner/marketplace/subscribe"
CALLERS = 50


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_reference_data()
    return make_tenant("zebu")


def body(template: Template, **changes: Any) -> dict[str, Any]:
    given = {
        "template_id": template.public_id,
        "user_email": "Asha@Example.com",
        "user_name": "Asha",
        "user_state": "29",
        "broker_client_id": "zebu123",
        "lot_multiplier": 2,
    } | changes
    return {name: value for name, value in given.items() if value is not ...}


# -- what an answer looks like -------------------------------------------------------------------
def test_the_answer_of_the_contract(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "quantleap.core.clock.now", lambda: dt.datetime(2026, 11, 21, 6, tzinfo=dt.UTC)
    )
    template = make_template()
    answer = tenant.client.post(f"/api/v1{URL}", body(template))
    created = answer.json()
    assert answer.status_code == 201, created
    subscription = Subscription.objects.get()
    customer = Customer.objects.get()
    allocation = {
        "allocation_id": Allocation.objects.get().public_id,
        "broker_id": "zebu",
        "client_id": "ZEBU123",
        "lot_multiplier": 2,
        "priority": 1,
        "max_lots_per_order": None,
        "status": "ACTIVE",
        "account_status": "needs_credentials",
        "has_oauth_token": False,
    }
    nested: dict[str, Any] = {
        "subscription_id": subscription.public_id,
        "user_id": customer.public_id,
        "user_email": "asha@example.com",
        "external_user_id": None,
        "template_id": template.public_id,
        "template_basket_id": template.public_id,
        "template_name": template.name,
        "template_owner_id": "admin_quantleap",
        "status": "ACTIVE",
        "status_reason": None,
        "reason": None,
        "subscription_date": "2026-11-21",
        "next_billing_date": "2026-12-21",
        "next_billing_at": "2026-12-20T18:30:00.000000Z",
        "has_oauth_token": False,
        "pricing": {
            "type": "PAID",
            "monthly_fee": 999,
            "currency": "INR",
            "billing_start_date": "2026-11-21",
            "next_billing_date": "2026-12-21",
        },
        "payment": {
            "status": "NOT_INVOICED",
            "due_by": None,
            "amount": None,
            "currency": "INR",
            "pay_url": None,
            "missing": [],
        },
        "broker_allocation": allocation,
        "broker_allocations": [allocation],
        "status_changed_at": "2026-11-21T06:00:00.000000Z",
        "created_at": "2026-11-21T06:00:00.000000Z",
        "cancelled_at": None,
        "ends_on": None,
        "partner_attribution": {
            "partner_id": "zebu",
            "partner_api_key_id": tenant.key.key_public_id,
            "commission_rate": 0.3,
            "monthly_commission": 299.7,
            "billing_start_date": "2026-11-21",
        },
        "revenue_share": {
            "partner_commission": 299.7,
            "platform_fee": 699.3,
            "currency": "INR",
        },
    }
    assert created == {
        "statusCode": 201,
        "message": "Subscription created successfully",
        "effective_lots": [{"leg": "SELL CE ATM WEEKLY", "lots": 2}],
        "email_differs": False,
        "subscription": nested,
        **nested,
    }
    assert b'"monthly_commission":299.7,' in answer.content  # a number, not text
    assert customer.name == "Asha"


def test_one_audit_entry_one_event_one_more_subscriber(tenant: Tenant) -> None:
    template = make_template()
    answer = tenant.client.post(URL, body(template))
    subscription_id = answer.json()["subscription_id"]
    entry = AuditEntry.objects.get(action="subscription.created")
    assert (entry.target_id, entry.actor_id) == (subscription_id, tenant.key.key_public_id)
    event = OutboxEvent.objects.get(type="subscription.created")
    assert event.partner_id == tenant.partner.pk
    assert event.payload["subscription_id"] == subscription_id
    assert event.payload["user_email"] == "asha@example.com"
    assert TemplateStats.objects.get(template=template).subscriber_count == 1


def test_a_customer_subscribes_himself_and_sees_no_commission(tenant: Tenant) -> None:
    template = make_template()
    customer = make_customer(tenant.partner)
    client = customer_client(customer)
    answer = client.post(f"/marketplace/subscribe/{template.public_id}", {"broker_client_id": "Z1"})
    created = answer.json()
    assert answer.status_code == 201, created
    assert created["user_id"] == customer.public_id
    assert "commission" not in answer.content.decode()
    assert "revenue_share" not in answer.content.decode()
    subscription = Subscription.objects.get()
    assert (subscription.partner_id, subscription.partner_bps) == (tenant.partner.pk, 3000)
    assert subscription.attributed_key is not None  # the key whose token it was


def test_a_direct_customer_names_his_broker(tenant: Tenant) -> None:
    template = make_template()
    client = customer_client(make_customer(None))
    url = f"/marketplace/subscribe/{template.public_id}"
    answer = client.post(url, {"broker_client_id": "Z1"})
    assert answer.status_code == 400
    assert answer.json()["details"] == {"broker": "This field is required."}
    assert client.post(url, {"broker_client_id": "Z1", "broker": "Zerodha"}).status_code == 201
    subscription = Subscription.objects.get()
    assert (subscription.partner_id, subscription.partner_bps) == (None, 0)


def test_a_free_template_and_the_sandbox_are_not_billed(tenant: Tenant) -> None:
    free = tenant.client.post(URL, body(make_template(fee=None))).json()
    assert free["pricing"]["type"] == "FREE"
    assert free["pricing"]["monthly_fee"] == 0
    sandbox = make_tenant(environment=Environment.TEST, partner=tenant.partner)
    paid = sandbox.client.post(URL, body(make_template(environment=Environment.TEST))).json()
    assert paid["pricing"]["type"] == "PAID"
    for subscription in (free, paid):
        assert subscription["payment"]["status"] == "NOT_REQUIRED"
        assert subscription["next_billing_date"] is None
        assert subscription["pricing"]["billing_start_date"] is None


# -- price and share in force --------------------------------------------------------------------
def test_price_and_share_in_force_are_copied(tenant: Tenant) -> None:
    template = make_template(fee=999)
    for fee, partner_id, day in (
        (1500, None, dt.date(2026, 8, 1)),
        (2000, None, dt.date(2099, 1, 1)),
        (777, tenant.partner.pk, dt.date(2025, 6, 1)),
        (888, tenant.partner.pk, dt.date(2099, 1, 1)),
        (1, make_partner().pk, dt.date(2025, 6, 1)),
    ):
        Price.objects.create(
            template=template,
            monthly_fee=Decimal(fee),
            partner_id=partner_id,
            effective_from=day,
        )
    for bps, day in ((2500, dt.date(2025, 1, 1)), (4000, dt.date(2099, 1, 1))):
        RevenueShare.objects.create(partner=tenant.partner, partner_bps=bps, effective_from=day)
    mine = make_subscription(template, tenant.partner)
    assert (mine.monthly_fee, mine.partner_bps) == (Decimal(777), 2500)
    theirs = make_subscription(template, make_partner(), now=TEST_NOW)
    assert (theirs.monthly_fee, theirs.partner_bps) == (Decimal(1500), 3000)
    Price.objects.filter(partner_id=tenant.partner.pk).update(monthly_fee=1)
    mine.refresh_from_db()
    assert mine.monthly_fee == Decimal(777)


# -- accounts ------------------------------------------------------------------------------------
def test_a_known_account_is_linked(tenant: Tenant) -> None:
    account = make_account(
        make_customer(tenant.partner, "asha@example.com"), client_id="ZEBU123", logged_in=True
    )
    created = tenant.client.post(URL, body(make_template())).json()
    assert created["has_oauth_token"] is True
    assert created["broker_allocation"]["account_status"] == "enabled"
    assert BrokerAccount.objects.get() == account


def test_without_auto_link_the_account_must_exist(tenant: Tenant) -> None:
    template = make_template()
    answer = tenant.client.post(URL, body(template, auto_link_broker=False))
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == ["broker_client_id"]
    assert not Customer.objects.exists()
    make_account(make_customer(tenant.partner, "asha@example.com"), client_id="ZEBU123")
    assert tenant.client.post(URL, body(template, auto_link_broker=False)).status_code == 201


def test_another_customers_account_is_refused_and_nothing_stays(tenant: Tenant) -> None:
    make_account(make_customer(tenant.partner, "other@example.com"), client_id="ZEBU123")
    template = make_template()
    answer = tenant.client.post(URL, body(template))
    assert answer.status_code == 409
    assert answer.json()["code"] == "client_id_taken"
    assert list(answer.json()["details"]) == ["broker_client_id"]
    assert not Subscription.objects.exists()
    assert Customer.objects.count() == 1
    assert TemplateStats.objects.get(template=template).subscriber_count == 0


def test_several_accounts_at_once(tenant: Tenant) -> None:
    allocations = [
        {"broker_client_id": "A1", "lot_multiplier": 1},
        {"broker_client_id": "B2", "broker": "zerodha", "lot_multiplier": 3, "priority": 5},
    ]
    dropped = {"broker_client_id": ..., "lot_multiplier": ...}
    answer = tenant.client.post(URL, body(make_template(), allocations=allocations, **dropped))
    created = answer.json()
    assert answer.status_code == 201, created
    assert [row["client_id"] for row in created["broker_allocations"]] == ["A1", "B2"]
    assert [row["priority"] for row in created["broker_allocations"]] == [1, 5]
    assert created["broker_allocation"]["client_id"] == "A1"
    assert created["effective_lots"] == [{"leg": "SELL CE ATM WEEKLY", "lots": 4}]


def test_a_wrong_one_of_several_is_named_by_its_place(tenant: Tenant) -> None:
    dropped = {"broker_client_id": ..., "lot_multiplier": ...}
    template = make_template()
    for wrong, field in (
        ({"broker_client_id": "A1"}, "allocations.1.broker_client_id"),
        ({"broker_client_id": "!"}, "allocations.1.broker_client_id"),
        ({"broker_client_id": "B", "broker": "none"}, "allocations.1.broker"),
        ({"broker_client_id": "B", "lot_multiplier": 0.5}, "allocations.1.lot_multiplier"),
    ):
        allocations = [{"broker_client_id": "a1"}, wrong]
        answer = tenant.client.post(URL, body(template, allocations=allocations, **dropped))
        assert (answer.status_code, list(answer.json()["details"])) == (400, [field])


# -- templates that are not offered --------------------------------------------------------------
def _closed(template: Template) -> None:
    close_to_new(template_id=template.pk, actor=SYSTEM, now=TEST_NOW)


def _withdrawn(template: Template) -> None:
    withdraw(template_id=template.pk, actor=SYSTEM, now=TEST_NOW)


def _private(template: Template) -> None:
    Template.objects.filter(pk=template.pk).update(visibility=Template.Visibility.PRIVATE)


def _for_others(template: Template) -> None:
    Template.objects.filter(pk=template.pk).update(
        visibility=Template.Visibility.PARTNERS, visible_to=[make_partner().pk]
    )


@pytest.mark.parametrize("hide", [_closed, _withdrawn, _private, _for_others])
def test_a_template_that_is_not_offered_is_unknown(
    tenant: Tenant, hide: Callable[[Template], None]
) -> None:
    template = make_template()
    hide(template)
    _expect_unknown(tenant, template.public_id)


def test_drafts_and_the_other_environments_templates_are_unknown(tenant: Tenant) -> None:
    for template in (
        make_template(published=False),
        make_template(environment=Environment.TEST),
    ):
        _expect_unknown(tenant, template.public_id)


def _expect_unknown(tenant: Tenant, template_id: str) -> None:
    """404 in the same bytes as for an id that never was; 404 comes before 400 in the path."""
    headers = {"X-Request-Id": "same"}
    given = {
        "user_email": "a@example.com",
        "broker_client_id": "Z1",
        "template_id": template_id,
    }
    answer = tenant.client.post(URL, given, headers=headers)
    unknown = tenant.client.post(URL, given | {"template_id": "bsk_nothing"}, headers=headers)
    assert answer.status_code == 404
    assert answer.content == unknown.content
    customer = customer_client(make_customer(tenant.partner))
    his = customer.post(f"/marketplace/subscribe/{template_id}", {"x": 1}, headers=headers)
    assert his.content == unknown.content
    assert not Subscription.objects.exists()


def test_a_template_for_chosen_partners(tenant: Tenant) -> None:
    template = make_template(
        visibility=Template.Visibility.PARTNERS, visible_to=[tenant.partner.pk]
    )
    assert tenant.client.post(URL, body(template)).status_code == 201


# -- disclosure ----------------------------------------------------------------------------------
def test_a_demanded_disclosure_is_stored_with_time_and_address(tenant: Tenant) -> None:
    template = make_template(
        requires_disclosure=True, disclosure="Options can lose.", disclosure_version=3
    )
    for wrong in (..., 2, None):
        answer = tenant.client.post(URL, body(template, accepted_disclosure_version=wrong))
        assert answer.status_code == 400
        assert list(answer.json()["details"]) == ["accepted_disclosure_version"]
    assert tenant.client.post(URL, body(template, accepted_disclosure_version=3)).status_code == 201
    stored = Subscription.objects.get()
    assert stored.accepted_disclosure_version == 3
    assert stored.accepted_disclosure_at == stored.created_at
    assert stored.accepted_disclosure_address == "127.0.0.1"


# -- multipliers ---------------------------------------------------------------------------------
def test_multipliers_that_do_not_fit_are_refused_by_name(tenant: Tenant) -> None:
    template = make_template(legs=[leg_spec(lots=1), leg_spec("BUY", "PE", "OTM2", lots=2)])
    for wrong, words in (
        (0, "Must be greater than 0."),
        (-1, "Must be greater than 0."),
        (0.5, "SELL CE ATM WEEKLY: 1 x 0.5 is less than one lot."),
        (1.5, "SELL CE ATM WEEKLY and BUY PE OTM2 WEEKLY: 1:2 x 1.5 -> 1:3."),
    ):
        answer = tenant.client.post(URL, body(template, lot_multiplier=wrong))
        assert answer.status_code == 400
        assert list(answer.json()["details"]) == ["lot_multiplier"]
        assert words in answer.json()["details"]["lot_multiplier"]
    assert not Subscription.objects.exists()
    assert not Customer.objects.exists()


# -- never twice ---------------------------------------------------------------------------------
def test_a_second_subscription_is_refused_with_the_first(tenant: Tenant) -> None:
    template = make_template()
    first = tenant.client.post(URL, body(template)).json()["subscription_id"]
    answer = tenant.client.post(URL, body(template, broker_client_id="OTHER1"))
    refusal = answer.json()
    assert answer.status_code == 409
    assert refusal["code"] == "duplicate_subscription"
    assert refusal["error"] == "Duplicate subscription"
    assert refusal["message"] == "User already subscribed to this strategy"
    assert refusal["existing_subscription_id"] == first
    assert BrokerAccount.objects.count() == 1
    assert TemplateStats.objects.get(template=template).subscriber_count == 1


def test_the_same_customer_elsewhere_is_somebody_else(tenant: Tenant) -> None:
    template = make_template()
    assert tenant.client.post(URL, body(template)).status_code == 201
    assert make_tenant().client.post(URL, body(template)).status_code == 201
    assert TemplateStats.objects.get(template=template).subscriber_count == 2


def test_after_a_cancel_one_may_subscribe_again(tenant: Tenant) -> None:
    template = make_template()
    first = tenant.client.post(URL, body(template)).json()["subscription_id"]
    assert tenant.client.delete(f"/partner/subscriptions/{first}").status_code == 200
    Price.objects.filter(template=template).update(monthly_fee=1234)
    second = tenant.client.post(URL, body(template))
    assert second.status_code == 201
    assert second.json()["subscription_id"] != first
    assert second.json()["pricing"]["monthly_fee"] == 1234


def test_a_repeated_post_with_its_key_is_the_same_answer(tenant: Tenant) -> None:
    template = make_template()
    headers = {"Idempotency-Key": "once"}
    first = tenant.client.post(URL, body(template), headers=headers)
    again = tenant.client.post(URL, body(template), headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
