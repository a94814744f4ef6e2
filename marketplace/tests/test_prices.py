"""A mistyped fee is corrected on its day, and audited."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from marketplace.models import Price, Template
from marketplace.selectors import price_in_force
from marketplace.services import PriceTerms, set_price
from marketplace.tests import factories as make
from marketplace.tests.template_form import fields_of
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry, StaffUser

TODAY = dt.date(2026, 8, 4)
DAY = dt.timedelta(days=1)
MISTYPED, MEANT = Decimal("9.99"), Decimal(999)


@pytest.fixture
def staff(db: None) -> Any:
    make.load_test_contracts()
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    with time_machine.travel(make.TEST_NOW, tick=False):
        yield client


def fee_today(template: Template) -> Decimal:
    price = price_in_force(template.pk, None, TODAY)
    assert price is not None
    return price.monthly_fee


def set_today(template: Template, fee: Decimal, **more: Any) -> Price:
    return set_price(
        template_id=template.pk,
        terms=PriceTerms(monthly_fee=fee, effective_from=TODAY, **more),
        actor=SYSTEM,
        now=make.TEST_NOW,
    )


def post_price(staff: Client, template: Template, fee: str, **more: str) -> Any:
    """The template's page with one new price row."""
    url = reverse("admin:marketplace_template_change", args=[template.pk])
    values = fields_of(staff.get(url).content.decode())
    row = {"tier": "STANDARD", "monthly_fee": fee, "effective_from": str(TODAY), **more}
    values |= {"prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "0"}
    return staff.post(url, values | {f"prices-0-{name}": value for name, value in row.items()})


def test_9_99_typed_from_today_then_999_from_today_was_a_500(staff: Client) -> None:
    template = make.make_template(fee=None, pricing_type="PAID", published=False)
    assert post_price(staff, template, "9.99").status_code == 302
    assert fee_today(template) == MISTYPED

    refused = post_price(staff, template, "999")
    assert refused.status_code == 200
    page = refused.content.decode()
    assert "There is a fee of ₹9.99 from this day on." in page
    assert "The new fee, ₹999.00, differs from the previous one, ₹9.99, by more than a" in page
    assert fee_today(template) == MISTYPED

    answer = post_price(staff, template, "999", reason="The point was wrong", large_change="on")
    assert answer.status_code == 302, answer.content.decode()
    assert fee_today(template) == MEANT
    first, second = Price.objects.order_by("id")
    assert (first.superseded_at, second.superseded_at) == (make.TEST_NOW, None)
    entries = AuditEntry.objects.filter(action="price.set").order_by("id")
    assert [(entry.actor_id, entry.target_id) for entry in entries] == [
        ("asha", template.public_id)
    ] * 2
    assert [entry.data for entry in entries] == [
        {
            "tier": "STANDARD",
            "from": None,
            "to": 9.99,
            "effective_from": "2026-08-04",
            "effective_until": None,
            "superseded": None,
            "large_change": False,
            "reason": "",
        },
        {
            "tier": "STANDARD",
            "from": 9.99,
            "to": 999,
            "effective_from": "2026-08-04",
            "effective_until": None,
            "superseded": first.pk,
            "large_change": True,
            "reason": "The point was wrong",
        },
    ]
    shown = staff.get(reverse("admin:marketplace_template_change", args=[template.pk]))
    assert "Superseded 4 Aug 2026" in shown.content.decode()


def test_a_change_beyond_five_times_is_asked_for_twice(staff: Client) -> None:
    template = make.make_template(fee=999)
    for fee in (Decimal("199.79"), Decimal("4995.01"), Decimal(0)):
        with pytest.raises(InvalidRequest) as refused:
            set_today(template, fee)
        assert list(refused.value.details) == ["large_change"]
    assert Price.objects.count() == 1
    assert not AuditEntry.objects.filter(action="price.set").exists()
    set_today(template, Decimal("199.80"))  # the control: a fifth is within
    assert fee_today(template) == Decimal("199.80")
    set_today(template, MEANT * 10, reason="Ten accounts", large_change=True)
    assert fee_today(template) == MEANT * 10


def test_a_day_that_is_over_is_not_written_again(staff: Client) -> None:
    template = make.make_template(fee=999)
    terms = PriceTerms(Decimal(899), dt.date(2025, 1, 1), reason="Cheaper all along")
    with pytest.raises(InvalidRequest) as refused:
        set_price(template_id=template.pk, terms=terms, actor=SYSTEM, now=make.TEST_NOW)
    assert list(refused.value.details) == ["effective_from"]
    with pytest.raises(NotFound):
        set_price(template_id=0, terms=terms, actor=SYSTEM, now=make.TEST_NOW)


def test_the_database_keeps_one_standing_price_of_a_day(staff: Client) -> None:
    template = make.make_template(fee=999)
    set_today(template, Decimal(1099))
    with pytest.raises(IntegrityError, match="price_uniq"), transaction.atomic():
        Price.objects.create(template=template, monthly_fee=1, effective_from=TODAY)
