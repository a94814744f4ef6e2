"""Who has no state is withheld and named, and nobody else's state taxes them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.test import Client, RequestFactory
from django.urls import reverse

from marketplace.models import Template
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.gst_states import STATES, in_force, place_of_supply
from partners.identity import find_or_create_customer
from partners.models import Customer
from partners.tests.factories import (
    Tenant,
    customer_client,
    make_customer,
    make_partner,
    make_tenant,
)
from quantleap.core import clock
from quantleap.core.models import OutboxEvent, StaffUser
from quantleap.core.money import ZERO
from subscriptions.billing.dashboard import tiles
from subscriptions.billing.models import Invoice
from subscriptions.billing.selectors import withheld
from subscriptions.billing.tests.factories import AWAY, HOME, START, bill, follow, load_billing
from subscriptions.models import Subscription

SUBSCRIBE = "/partner/marketplace/subscribe"


@pytest.fixture
def tenant(db: None) -> Tenant:
    load_billing()
    load_reference_data()
    created = make_tenant("zebu")
    created.partner.default_state = AWAY
    created.partner.save()
    return created


@pytest.fixture
def template(tenant: Tenant) -> Template:
    return make_template()


def test_a_customer_without_a_state_was_taxed_as_the_partner(
    tenant: Tenant, template: Template
) -> None:
    """Seen: the invoice used the partner's state and printed it as the customer's."""
    (subscription,) = follow(template, tenant.partner, [START], state="")
    result = bill(START)
    assert (result.invoices, result.withheld) == (0, 1)
    assert not Invoice.objects.exists()
    (named,) = withheld(START, START)
    assert (named.subscription, named.email) == (
        subscription.public_id,
        subscription.customer.email,
    )
    assert (named.state, named.due_since) == ("", START)
    later = START + dt.timedelta(days=3)
    find_or_create_customer(
        partner_id=tenant.partner.pk, environment="live", email=subscription.customer.email,
        state=HOME, now=clock.now(),
    )  # fmt: skip
    assert (bill(later).invoices, withheld(later, later)) == (1, [])
    invoice = Invoice.objects.get()
    assert (invoice.period_start, invoice.issued_on) == (START, later)
    assert (invoice.place_of_supply, invoice.igst) == (HOME, ZERO)
    assert invoice.snapshot["customer"]["state_name"] == "Tamil Nadu"


def test_the_run_taxes_where_the_pure_function_says(tenant: Tenant, template: Template) -> None:
    """Every code that ever was, those that are nobody's, and none: with a partner and without."""
    codes = sorted({state.code for state in STATES} | {"", "00", "28", "39", "96", "99"})
    followed = {
        (code, partner): follow(template, partner, [START], state=code)[0]
        for code in codes
        for partner in (tenant.partner, None)
    }
    result = bill(START)
    held = 0
    for (code, _), subscription in followed.items():
        place = place_of_supply(START, state=code)
        issued = Invoice.objects.filter(subscription=subscription).first()
        assert (issued.place_of_supply if issued else None) == place, code
        assert issued is None or (issued.igst == 0) == (place == HOME), code
        held += place is None
    assert (result.invoices, result.withheld) == (2 * len(in_force(START)), held)


def test_who_subscribes_without_a_state_is_told_at_once(tenant: Tenant, template: Template) -> None:
    """Subscribing is refused before a customer is created; a free template needs no state."""
    body = {
        "template_id": template.public_id,
        "user_email": "asha@example.com",
        "broker_client_id": "Z1",
    }
    refused = tenant.client.post(SUBSCRIBE, body)
    assert (refused.status_code, refused.json()["code"]) == (400, "state_missing")
    assert "GST state is needed" in refused.json()["details"]["user_state"]
    assert not Customer.objects.exists()
    answer = tenant.client.post(SUBSCRIBE, {**body, "user_state": HOME})
    assert answer.status_code == 201, answer.content
    assert answer.json()["payment"]["missing"] == []
    assert Customer.objects.get().state == HOME
    free = {
        "template_id": make_template(fee=None).public_id,
        "user_email": "bharat@example.com",
        "broker_client_id": "Z2",
    }
    assert tenant.client.post(SUBSCRIBE, free).status_code == 201, "nothing is invoiced"


def test_a_customer_with_a_token_says_where_they_live_themselves(
    tenant: Tenant, template: Template
) -> None:
    client = customer_client(make_customer(tenant.partner, state="28"))
    url = f"/marketplace/subscribe/{template.public_id}"
    refused = client.post(url, {"broker_client_id": "Z1"})
    assert (refused.status_code, refused.json()["code"]) == (400, "state_missing")
    assert "28 on record is not in force" in refused.json()["details"]["user_state"]
    answer = client.post(url, {"broker_client_id": "Z1", "user_state": "37"})
    assert answer.status_code == 201, answer.content
    assert Customer.objects.get().state == "37"


def test_the_answer_and_the_event_say_what_is_missing(tenant: Tenant, template: Template) -> None:
    """Of one from before the question: their partner reads what to send, and where it is taken."""
    (subscription,) = follow(template, tenant.partner, [START], state="")
    with time_machine.travel(TEST_NOW, tick=False):
        shown = tenant.client.get(f"/partner/subscriptions/{subscription.public_id}").json()
        assert shown["payment"] == {
            "status": "NOT_INVOICED", "due_by": None, "amount": None, "currency": "INR",
            "pay_url": None, "missing": ["user_state"],
        }  # fmt: skip
        body = {"user_email": subscription.customer.email, "user_state": HOME}
        assert tenant.client.post("/partner/user-tokens", body).status_code == 201
        shown = tenant.client.get(f"/partner/subscriptions/{subscription.public_id}").json()
    assert shown["payment"]["missing"] == []
    assert not OutboxEvent.objects.filter(type="invoice.issued").exists()
    assert Subscription.objects.get().status == "ACTIVE"


def test_staff_see_who_is_withheld_and_where_to_mend_it(
    tenant: Tenant, template: Template, client: Client
) -> None:
    """The dashboard counts the withheld, and their list links to the customer's page."""
    lost, _ = follow(template, tenant.partner, [START, START], state="28")
    follow(template, tenant.partner, [START])
    Customer.objects.filter(pk=lost.customer_id).update(state="")
    boss = StaffUser.objects.create_superuser("boss")
    request = RequestFactory().get("/admin/")
    request.user = boss
    tile = next(tile for tile in _tiles(request) if tile.title == "Withheld")
    assert (tile.value, tile.tone) == ("2", "warn")
    client.force_login(boss)
    page = client.get(tile.link)
    assert len(page.context["cl"].result_list) == 2
    text = page.content.decode()
    assert "9999999999 results" not in text, "the list says itself how long it is"
    address = reverse("admin:partners_customer_change", args=[lost.customer_id])
    assert f'href="{address}">Missing</a>' in text
    assert "28, not in force" in text
    Customer.objects.update(state=AWAY)
    assert "Withheld" not in [tile.title for tile in _tiles(request)]
    everybody = client.get(reverse("admin:billing_billingsegment_changelist"))
    assert "27 Maharashtra" in everybody.content.decode()


def _tiles(request: Any) -> list[Any]:
    return list(tiles(request, clock.now()))


@pytest.mark.django_db
def test_what_is_withheld_is_judged_on_the_day_of_the_run() -> None:
    """Bug: a run for an earlier day withheld by today's state codes, and listed by that day's.

    25 (Daman and Diu) was a code of its own until 26 January 2020.
    """
    (subscription,) = follow(make_template(), make_partner(), [START], state="25")
    assert [row.subscription for row in withheld(START, START)] == [subscription.public_id]
    in_force_then = dt.date(2020, 1, 1)
    assert withheld(START, in_force_then) == []
