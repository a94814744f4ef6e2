"""Who was shown one price did not subscribe at another."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from marketplace.models import Price, Template
from marketplace.services import publish
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import Tenant, customer_client, make_customer, make_tenant
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions.models import Subscription


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_reference_data()
    return make_tenant()


def shown(tenant: Tenant, template: Template) -> dict[str, Any]:
    """The template as the catalogue shows it."""
    answer = tenant.client.get(f"/partner/marketplace/templates/{template.public_id}")
    detail: dict[str, Any] = answer.json()["template"]
    return detail


def subscribe(tenant: Tenant, template: Template, **more: Any) -> Any:
    return tenant.client.post(
        "/partner/marketplace/subscribe",
        {
            "template_id": template.public_id,
            "user_email": "asha@example.com",
            "user_state": "33",
            "broker_client_id": "Z1",
            **more,
        },
    )


def raise_to(template: Template, fee: int) -> None:
    Price.objects.create(
        template=template,
        monthly_fee=Decimal(fee),
        effective_from=clock.ist_date(clock.now()) - dt.timedelta(days=1),
    )


def test_999_was_shown_and_1499_was_charged(tenant: Tenant) -> None:
    template = make_template(fee=999)
    seen = shown(tenant, template)["pricing"]["monthly_fee"]
    raise_to(template, 1499)
    answer = subscribe(tenant, template, expected_monthly_fee=seen)
    assert answer.status_code == 409, answer.content
    body = answer.json()
    assert (body["code"], body["expected_monthly_fee"], body["monthly_fee"]) == (
        "price_changed",
        999,
        1499,
    )
    assert not Subscription.objects.exists()
    assert not Customer.objects.exists()
    # looked at again, and with open eyes
    seen = shown(tenant, template)["pricing"]["monthly_fee"]
    assert subscribe(tenant, template, expected_monthly_fee=seen).status_code == 201
    assert Subscription.objects.get().monthly_fee == Decimal(1499)


def test_a_customer_with_a_token_is_asked_the_same(tenant: Tenant) -> None:
    template = make_template(fee=999)
    client = customer_client(make_customer(tenant.partner))
    url = f"/marketplace/subscribe/{template.public_id}"
    raise_to(template, 1499)
    answer = client.post(url, {"broker_client_id": "Z1", "expected_monthly_fee": 999})
    assert (answer.status_code, answer.json()["monthly_fee"]) == (409, 1499)
    answer = client.post(url, {"broker_client_id": "Z1", "expected_monthly_fee": 1499.00})
    assert answer.status_code == 201


def test_version_1_was_shown_and_version_2_was_traded(tenant: Tenant) -> None:
    template = make_template()
    seen = shown(tenant, template)["version"]
    template.strategies.update(exit_time=dt.time(15, 10))
    publish(template_id=template.pk, actor=SYSTEM, note="earlier", now=clock.now())
    answer = subscribe(tenant, template, expected_version=seen)
    assert answer.status_code == 409, answer.content
    body = answer.json()
    assert (body["code"], body["expected_version"], body["version"]) == ("version_changed", 1, 2)
    assert not Subscription.objects.exists()
    assert subscribe(tenant, template, expected_version=2).status_code == 201


def test_who_expects_nothing_subscribes_as_before_and_free_is_0(tenant: Tenant) -> None:
    assert subscribe(tenant, make_template(fee=999)).status_code == 201
    free = make_template(fee=None)
    assert shown(tenant, free)["pricing"]["monthly_fee"] == 0
    assert subscribe(tenant, free, expected_monthly_fee=1).status_code == 409
    assert subscribe(tenant, free, expected_monthly_fee=0).status_code == 201
