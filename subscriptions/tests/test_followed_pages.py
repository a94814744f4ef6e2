"""Who follows a template sees its page, whatever closed it to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from marketplace.models import Price, Template
from marketplace.services import close_to_new, withdraw
from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import Tenant, customer_client, make_customer, make_tenant
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions import services
from subscriptions.billing.tests.factories import load_billing
from subscriptions.tests.factories import make_subscription


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_reference_data()
    load_billing()
    return make_tenant()


def close(template: Template) -> None:
    close_to_new(template_id=template.pk, actor=SYSTEM, now=clock.now())


def hide(template: Template) -> None:
    Template.objects.filter(pk=template.pk).update(visibility="PARTNERS", visible_to=[])


def unprice(template: Template) -> None:
    """Of a tier that nobody has: the row of a subscription is never deleted."""
    Price.objects.filter(template=template).update(tier="PRO")


def page(client: APIClient, template: Template, below: str = "") -> Any:
    return client.get(f"{below}/marketplace/templates/{template.public_id}")


@pytest.mark.parametrize("shut", [close, hide, unprice])
def test_the_page_of_what_trades_for_them_was_404(
    tenant: Tenant, shut: Callable[[Template], None]
) -> None:
    template = make_template(fee=999)
    mine = make_subscription(template, tenant.partner, email="asha@example.com")
    follower = customer_client(mine.customer)
    other = customer_client(make_customer(tenant.partner))
    assert page(follower, template).json()["template"]["open_to_new"] is True
    shut(template)
    for client, below in ((follower, ""), (tenant.client, "/partner"), (tenant.client, "")):
        answer = page(client, template, below)
        assert answer.status_code == 200, answer.content
        shown = answer.json()["template"]
        assert shown["open_to_new"] is False
        fee = None if shut is unprice else 999
        assert shown["pricing"]["monthly_fee"] == fee
        assert (shown["pricing"]["monthly_total"] is None) == (fee is None)
    # to everybody else it is still as if there were none, and nobody new can subscribe
    for stranger in (other, make_tenant().client, APIClient()):
        assert page(stranger, template).status_code == 404
    assert follower.get("/marketplace/templates").json()["templates"] == []
    account = {"broker_client_id": "Z2"}
    assert other.post(f"/marketplace/subscribe/{template.public_id}", account).status_code == 404
    # a deep link to the page works for who follows, and for nobody else
    tokens = "/partner/user-tokens"
    link = {"user_email": "asha@example.com", "template_id": template.public_id}
    assert tenant.client.post(tokens, link).status_code == 201
    link["user_email"] = "kiran@example.com"
    assert tenant.client.post(tokens, link).status_code == 404


def test_who_has_left_sees_it_no_longer(tenant: Tenant) -> None:
    template = make_template()
    mine = make_subscription(template, tenant.partner)
    close(template)
    services.cancel(subscription_id=mine.pk, actor=SYSTEM, reason="USER", now=clock.now())
    assert page(customer_client(mine.customer), template).status_code == 404
    assert page(tenant.client, template, "/partner").status_code == 404


def test_a_direct_customer_follows_for_themselves_alone(tenant: Tenant) -> None:
    template = make_template()
    mine = make_subscription(template, None, broker="zebu")
    close(template)
    assert page(customer_client(mine.customer), template).status_code == 200
    assert page(customer_client(make_customer(None)), template).status_code == 404
    assert page(APIClient(), template).status_code == 404
    assert page(tenant.client, template).status_code == 404


def test_a_withdrawn_one_is_gone_for_all(tenant: Tenant) -> None:
    template = make_template()
    mine = make_subscription(template, tenant.partner)
    withdraw(template_id=template.pk, actor=SYSTEM, now=clock.now())
    assert page(customer_client(mine.customer), template).status_code == 404
