"""The catalogue shows what will be billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from marketplace.models import Template
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import Tenant, customer_client, make_customer, make_tenant
from quantleap.core import clock
from quantleap.core.money import with_tax
from subscriptions.billing.models import Invoice
from subscriptions.billing.tests.factories import AWAY, HOME, bill, follow, load_billing

TODAY = clock.ist_date(TEST_NOW)


@pytest.fixture
def tenant(db: None) -> Any:
    load_reference_data()
    load_billing()
    with time_machine.travel(TEST_NOW, tick=False):
        yield make_tenant()


def shown_total(client: APIClient, template: Template, **query: str) -> Decimal:
    """``monthly_total`` of its page; the list says the same."""
    answer = client.get(f"/marketplace/templates/{template.public_id}", query)
    assert answer.status_code == 200, answer.content
    total = answer.json()["template"]["pricing"]["monthly_total"]
    rows = client.get("/marketplace/templates", query).json()["templates"]
    listed = {row["template_id"]: row["pricing"]["monthly_total"] for row in rows}
    assert listed[template.public_id] == total
    return Decimal(str(total))


def test_499_50_was_shown_as_589_41_and_billed_as_589_42(tenant: Tenant) -> None:
    template = make_template(fee=Decimal("499.50"))
    totals = {}
    for state in (HOME, AWAY):
        customer = make_customer(tenant.partner, state=state)
        client = customer_client(customer)
        shown = shown_total(client, template)
        assert shown == shown_total(tenant.client, template, state=state)
        answer = client.post(
            f"/marketplace/subscribe/{template.public_id}", {"broker_client_id": f"Z{state}"}
        )
        assert answer.status_code == 201, answer.content
        bill(TODAY)
        billed = Invoice.objects.get(customer=customer).total
        assert shown == billed
        totals[state] = billed
    assert totals == {HOME: Decimal("589.42"), AWAY: Decimal("589.41")}
    # of whom nothing is known, as where the supplier is
    assert shown_total(APIClient(), template) == totals[HOME]


def test_50_of_99_paise_prices_were_shown_otherwise_than_billed(tenant: Tenant) -> None:
    """Every paisa of a rupee, billed by the run itself, in the supplier's state and outside."""
    differ = 0
    for paise in range(1, 100):
        fee = 499 + Decimal(paise) / 100
        template = make_template(fee=fee)
        for state in (HOME, AWAY):
            follow(template, tenant.partner, [TODAY], state=state, fee=fee)
    bill(TODAY)
    invoices = Invoice.objects.select_related("subscription")
    assert invoices.count() == 198
    for invoice in invoices:
        within = invoice.place_of_supply == HOME
        assert invoice.total == with_tax(invoice.taxable, Decimal(18), within_state=within)
        differ += within and invoice.total != with_tax(
            invoice.taxable, Decimal(18), within_state=False
        )
    assert differ == 50
    rows = {
        state: {
            row["template_id"]: Decimal(str(row["pricing"]["monthly_total"]))
            for page in ("1", "2")
            for row in tenant.client.get(
                "/partner/marketplace/templates", {"state": state, "page": page, "per_page": "50"}
            ).json()["templates"]
        }
        for state in (HOME, AWAY)
    }
    for invoice in invoices.select_related("subscription__template"):
        template_id = invoice.subscription.template.public_id
        assert rows[invoice.place_of_supply][template_id] == invoice.total


def test_a_state_that_is_none_is_refused_in_words(tenant: Tenant) -> None:
    for state in ("28", "TN", ""):
        answer = tenant.client.get("/partner/marketplace/templates", {"state": state})
        assert answer.status_code == 400, state
        assert list(answer.json()["details"]) == ["state"]


def test_the_partners_state_is_neither_shown_nor_billed(tenant: Tenant) -> None:
    """Of whom nothing is known is shown what the supplier's state comes to, whoever asks."""
    template = make_template(fee=Decimal("499.50"))
    tenant.partner.default_state = AWAY
    tenant.partner.save()
    nobody = customer_client(make_customer(tenant.partner, state=""))
    for client in (tenant.client, nobody, APIClient()):
        assert shown_total(client, template) == Decimal("589.42")
    follow(template, tenant.partner, [TODAY], state="", fee=Decimal("499.50"))
    assert (bill(TODAY).invoices, Invoice.objects.count()) == (0, 0)
