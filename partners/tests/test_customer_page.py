"""A customer's page: billing details can be corrected, and everything of theirs is shown."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from partners.tests.factories import make_customer, make_partner
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("staff"))
    return client


def test_a_wrong_gst_state_is_mended_in_the_console(staff: Client) -> None:
    customer = make_customer(make_partner(default_state="27"), state="28")
    page = reverse("admin:partners_customer_change", args=[customer.pk])
    assert "28, not in force: not invoiced" in staff.get(page).content.decode()
    address = reverse("admin:partners_customer_billing_details", args=[customer.pk])
    asked = staff.get(address).content.decode()
    assert "Issued invoices stay as they are" in asked
    assert "37 Andhra Pradesh" in asked
    assert 'value="28"' not in asked
    body = {"state": "37", "billing_address": "1 Beach Road\n\nVisakhapatnam", "reason": "Typo"}
    done = confirm(staff, address, body, follow=True).content.decode()
    assert "the next invoices have the new details" in done
    assert "37 Andhra Pradesh" in done
    customer.refresh_from_db()
    assert (customer.state, customer.billing_address) == ("37", "1 Beach Road\nVisakhapatnam")
    entry = AuditEntry.objects.get(action="customer.billing_details_changed")
    assert (entry.actor_id, entry.data["reason"]) == ("staff", "Typo")


def test_a_bad_state_or_missing_reason_is_a_field_error(staff: Client) -> None:
    customer = make_customer(make_partner())
    address = reverse("admin:partners_customer_billing_details", args=[customer.pk])
    answer = confirm(staff, address, {"state": "99", "reason": ""})
    assert answer.status_code == 400
    assert set(answer.context["form"].errors) == {"state", "reason"}


def test_a_customer_without_a_state_was_shown_their_partners(staff: Client) -> None:
    none = make_customer(make_partner(default_state="27"), state="")
    page = staff.get(reverse("admin:partners_customer_change", args=[none.pk])).content.decode()
    assert "not invoiced until there is one" in page
    assert "Maharashtra" not in page


def test_whoever_may_only_look_changes_nothing(staff: Client) -> None:
    customer = make_customer(make_partner())
    address = reverse("admin:partners_customer_billing_details", args=[customer.pk])
    staff.force_login(StaffUser.objects.create_user("guest", is_staff=True))
    assert staff.post(address, {"confirm": "yes", "state": "27"}).status_code == 403
