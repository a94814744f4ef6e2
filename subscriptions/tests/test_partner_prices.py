"""A partner's price ends, and everybody's is in force again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client

from marketplace.models import Price, Template
from marketplace.selectors import price_in_force
from marketplace.services import PriceTerms, set_price
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from marketplace.tests.template_form import hand_written
from partners.tests.factories import Tenant, make_tenant
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest
from quantleap.core.models import StaffUser
from subscriptions.tests.factories import make_subscription

TODAY = dt.date(2026, 8, 4)
DAY = dt.timedelta(days=1)


@pytest.fixture
def tenant(db: None) -> Any:
    load_reference_data()
    with time_machine.travel(TEST_NOW, tick=False):
        yield make_tenant()


def fee_on(template: Template, tenant: Tenant | None, day: dt.date) -> Decimal:
    price = price_in_force(template.pk, tenant.partner.pk if tenant else None, day)
    assert price is not None
    return price.monthly_fee


def test_a_partners_price_never_ended(tenant: Tenant) -> None:
    template, other = make_template(fee=999), make_tenant()
    last = TODAY + 30 * DAY
    Price.objects.create(
        template=template,
        monthly_fee=777,
        partner_id=tenant.partner.pk,
        effective_from=TODAY,
        effective_until=last,
    )
    assert [fee_on(template, tenant, day) for day in (TODAY - DAY, TODAY, last, last + DAY)] == [
        Decimal(fee) for fee in (999, 777, 777, 999)
    ]
    assert {fee_on(template, other, day) for day in (TODAY, last + DAY)} == {Decimal(999)}
    assert {fee_on(template, None, day) for day in (TODAY, last + DAY)} == {Decimal(999)}
    # shown and charged over HTTP: 777 on the last day, 999 on the morning after
    for day, fee in ((last, 777), (last + DAY, 999)):
        with time_machine.travel(dt.datetime.combine(day, dt.time(4), dt.UTC), tick=False):
            url = f"/partner/marketplace/templates/{template.public_id}"
            shown = tenant.client.get(url).json()["template"]["pricing"]["monthly_fee"]
            mine = make_subscription(template, tenant.partner)
            assert (shown, mine.monthly_fee) == (fee, Decimal(fee))


def test_a_price_without_an_end_is_ended_by_a_row_that_has_one(tenant: Tenant) -> None:
    template, partner_id = make_template(fee=999), tenant.partner.pk
    for first, last, fee in ((TODAY - 90 * DAY, None, 777), (TODAY, TODAY + 9 * DAY, 777)):
        Price.objects.create(
            template=template,
            monthly_fee=fee,
            partner_id=partner_id,
            effective_from=first,
            effective_until=last,
        )
    assert fee_on(template, tenant, TODAY + 9 * DAY) == Decimal(777)
    assert fee_on(template, tenant, TODAY + 10 * DAY) == Decimal(999)
    # and a later one begins again
    Price.objects.create(
        template=template,
        monthly_fee=555,
        partner_id=partner_id,
        effective_from=TODAY + 20 * DAY,
    )
    assert fee_on(template, tenant, TODAY + 19 * DAY) == Decimal(999)
    assert fee_on(template, tenant, TODAY + 20 * DAY) == Decimal(555)


def test_the_console_takes_a_last_day_and_refuses_nonsense(tenant: Tenant) -> None:
    """A last day before the first one, or of everybody's price, is refused in words."""
    staff = Client()
    staff.force_login(StaffUser.objects.create_superuser("asha"))
    rows = {
        "prices-TOTAL_FORMS": "2",
        "prices-1-tier": "STANDARD",
        "prices-1-monthly_fee": "777",
        "prices-1-partner": str(tenant.partner.pk),
        "prices-1-effective_from": "2026-08-04",
    }
    add = "/admin/marketplace/template/add/"
    backwards = staff.post(add, hand_written(**rows, **{"prices-1-effective_until": "2026-08-03"}))
    assert "The last day must not be before the first one." in backwards.content.decode()
    everybody = staff.post(add, hand_written(**{"prices-0-effective_until": "2026-08-31"}))
    assert "Only a partner&#x27;s price has a last day" in everybody.content.decode()
    assert not Price.objects.exists()
    answer = staff.post(add, hand_written(**rows, **{"prices-1-effective_until": "2026-08-31"}))
    assert answer.status_code == 302, answer.content.decode()
    price = Price.objects.get(partner_id=tenant.partner.pk)
    assert price.effective_until == dt.date(2026, 8, 31)


def test_the_database_refuses_the_same(tenant: Tenant) -> None:
    template = make_template()
    for partner_id, last, name in (
        (tenant.partner.pk, TODAY - DAY, "price_until_after_from"),
        (None, TODAY + DAY, "price_until_for_partner"),
    ):
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            Price.objects.create(
                template=template,
                monthly_fee=1,
                partner_id=partner_id,
                effective_from=TODAY,
                effective_until=last,
            )


def test_a_superseded_price_stays_with_who_subscribed_at_it(
    tenant: Tenant,
) -> None:
    """Whoever subscribes later pays the new price. Seen: everybody got 9.99 until midnight."""
    template = make_template(fee=Decimal("9.99"))
    early = make_subscription(template, tenant.partner)
    for terms in (
        PriceTerms(Decimal("9.98"), TODAY),
        PriceTerms(Decimal(999), TODAY, reason="The point was wrong", large_change=True),
    ):
        set_price(template_id=template.pk, terms=terms, actor=SYSTEM, now=TEST_NOW)
    late = make_subscription(template, tenant.partner)
    early.refresh_from_db()
    assert (early.monthly_fee, late.monthly_fee) == (Decimal("9.99"), Decimal(999))


def test_a_partners_price_is_compared_with_what_they_would_pay(tenant: Tenant) -> None:
    template = make_template(fee=999)

    def for_them(fee: str) -> None:
        terms = PriceTerms(Decimal(fee), TODAY, partner_id=tenant.partner.pk)
        set_price(template_id=template.pk, terms=terms, actor=SYSTEM, now=TEST_NOW)

    with pytest.raises(InvalidRequest) as refused:
        for_them("9.99")
    assert list(refused.value.details) == ["large_change"]
    for_them("777")
    assert fee_on(template, None, TODAY) == Decimal(999)
    assert fee_on(template, tenant, TODAY) == Decimal(777)
