"""Prices and visibility name partners, and only partners that exist."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.test import Client

from marketplace.models import Price, Template
from marketplace.tests import factories as make
from marketplace.tests.template_form import hand_written
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core.models import StaffUser

pytestmark = pytest.mark.django_db

ADD = "/admin/marketplace/template/add/"


@pytest.fixture
def staff() -> Any:
    make.load_test_contracts()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    with time_machine.travel(make.TEST_NOW, tick=False):
        yield client


def errors(answer: Any) -> str:
    context = answer.context
    forms = [form for formset in context["inline_admin_formsets"] for form in formset.formset.forms]
    return str([context["adminform"].form.errors, *(form.errors for form in forms)])


def test_a_price_for_a_partner_is_chosen_by_name(staff: Client) -> None:
    """Bug: the inner number had to be typed, and one of nobody was taken."""
    zebu = make_partner("zebu", name="Zebu")
    page = staff.get(ADD).content.decode()
    assert f'<option value="{zebu.pk}">Zebu (zebu)</option>' in page
    assert "Everybody" in page
    answer = staff.post(ADD, hand_written(**{"prices-0-partner": str(zebu.pk)}))
    assert answer.status_code == 302, errors(answer)
    price = Price.objects.get()
    assert price.partner_id == zebu.pk
    shown = staff.get(f"/admin/marketplace/template/{price.template_id}/change/").content.decode()
    assert "Zebu (zebu)" in shown


@pytest.mark.parametrize("number", ["99999", "-1", "abc", "1 OR 1=1"])
def test_a_price_for_nobody_is_refused_beside_its_field(staff: Client, number: str) -> None:
    answer = staff.post(ADD, hand_written(**{"prices-0-partner": number}))
    assert answer.status_code == 200
    assert "There is no such partner" in errors(answer)
    assert not Price.objects.exists()
    assert not Template.objects.exists()


def test_a_partners_second_price_of_a_day_is_refused(staff: Client) -> None:
    zebu = make_partner()
    form = hand_written(
        **{
            "prices-TOTAL_FORMS": "2",
            "prices-0-partner": str(zebu.pk),
            "prices-1-partner": str(zebu.pk),
            "prices-1-tier": "STANDARD",
            "prices-1-monthly_fee": "799",
            "prices-1-effective_from": "2026-08-04",
        }
    )
    answer = staff.post(ADD, form)
    assert answer.status_code == 200
    assert not Price.objects.exists()


def test_visibility_offers_existing_partners_by_name(staff: Client) -> None:
    zebu, kite = make_partner("zebu"), make_partner("kite", status=Partner.Status.SUSPENDED)
    page = staff.get(ADD).content.decode()
    assert "Kite (kite, suspended)" in page
    refused = staff.post(ADD, hand_written(visibility="PARTNERS", visible_to=["99999"]))
    assert refused.status_code == 200
    assert "There is no such partner" in errors(refused)
    nobody = staff.post(ADD, hand_written(visibility="PARTNERS"))
    assert "at least one partner" in errors(nobody)
    both = [str(zebu.pk), str(kite.pk)]
    answer = staff.post(ADD, hand_written(visibility="PARTNERS", visible_to=both))
    assert answer.status_code == 302, errors(answer)
    assert Template.objects.get().visible_to == [zebu.pk, kite.pk]


@transaction.atomic
def price_of_nobody(template: Template) -> None:
    Price.objects.create(
        template=template, monthly_fee=Decimal(1), effective_from="2026-08-04", partner_id=99999
    )
    connection.check_constraints()  # it is deferred to the commit


def test_a_deleted_partner_does_not_block_visibility() -> None:
    """Control: a further partner that does not exist is still refused."""
    deleted, other = make_partner(), make_partner()
    template = make.make_template(visibility="PARTNERS", visible_to=[deleted.pk])
    rows, was = Template.objects.filter(pk=template.pk), deleted.pk
    deleted.delete()
    for chosen in ([was, other.pk], [other.pk, was], [was]):
        rows.update(visible_to=chosen)
    with pytest.raises(IntegrityError, match="no partner 99999"), transaction.atomic():
        rows.update(visible_to=[was, 99999])
    rows.update(visible_to=[other.pk])
    with pytest.raises(IntegrityError, match=f"no partner {was}"), transaction.atomic():
        rows.update(visible_to=[was])


def test_the_database_refuses_unknown_partners() -> None:
    template = make.make_template()
    with pytest.raises(IntegrityError, match="price_partner_known"):
        price_of_nobody(template)
    with pytest.raises(IntegrityError, match="no partner 99999"), transaction.atomic():
        Template.objects.filter(pk=template.pk).update(visible_to=[99999])
