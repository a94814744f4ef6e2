"""A mistyped revenue share is corrected on its day, and audited."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client

from partners.models import RevenueShare
from partners.revenue_shares import ShareTerms, set_share
from partners.selectors import share_in_force
from partners.tests.factories import make_partner
from partners.tests.share_rows import TODAY, post_shares, row
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest, NotFound
from quantleap.core.models import AuditEntry, StaffUser

NOW = dt.datetime(2026, 8, 4, 6, tzinfo=dt.UTC)


@pytest.fixture
def staff(db: None) -> Any:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    with time_machine.travel(NOW, tick=False):
        yield client


def test_a_mistyped_share_is_superseded_and_audited(staff: Client) -> None:
    """Bug: 300 instead of 3000 stayed, and the audit entry named no field."""
    partner = make_partner()
    refused = post_shares(staff, partner, row(300))
    assert refused.status_code == 200
    sentence = "300 basis points, differs from the previous one, 3000 basis points, by more than"
    assert sentence in refused.content.decode()
    assert post_shares(staff, partner, row(300, large_change="on")).status_code == 302
    assert share_in_force(partner.pk, TODAY) == 300

    again = post_shares(staff, partner, row(3000, large_change="on"))
    assert again.status_code == 200
    assert "There is a share of 300 basis points from this day on." in (again.content.decode())
    meant = row(3000, large_change="on", reason="A zero was missing")
    answer = post_shares(staff, partner, meant)
    assert answer.status_code == 302, answer.content.decode()
    assert share_in_force(partner.pk, TODAY) == 3000
    first, second = RevenueShare.objects.order_by("id")
    assert (first.superseded_at, second.superseded_at) == (NOW, None)
    entries = AuditEntry.objects.order_by("id")
    assert [entry.action for entry in entries] == ["share.set"] * 2  # no edit of nothing beside it
    assert {(entry.actor_id, entry.target_id) for entry in entries} == {("asha", partner.slug)}
    assert [entry.data for entry in entries] == [
        {
            "from": 3000,
            "to": 300,
            "effective_from": "2026-08-04",
            "superseded": None,
            "large_change": True,
            "reason": "",
        },
        {
            "from": 300,
            "to": 3000,
            "effective_from": "2026-08-04",
            "superseded": first.pk,
            "large_change": True,
            "reason": "A zero was missing",
        },
    ]
    page = staff.get(f"/admin/partners/partner/{partner.pk}/change/").content.decode()
    assert "Superseded 4 Aug 2026" in page


def test_a_new_row_begins_with_today(staff: Client) -> None:
    partner = make_partner()
    page = staff.get(f"/admin/partners/partner/{partner.pk}/change/").content.decode()
    field = re.search(r'<input[^>]*name="revenue_shares-__prefix__-effective_from"[^>]*>', page)
    assert field is not None
    assert f'value="{TODAY}"' in field[0]


def test_two_shares_of_one_day_are_refused(staff: Client) -> None:
    partner = make_partner()
    answer = post_shares(staff, partner, row(2500), row(2600))
    assert answer.status_code == 200
    assert "Another row here has the same day." in answer.content.decode()
    assert not RevenueShare.objects.exists()


def test_a_second_share_of_a_day_blocked_the_page(staff: Client) -> None:
    """Seen in a browser, which posts the number of stored rows, too: the page then refused every
    later change because two stored rows are from one day."""
    partner = make_partner()
    assert post_shares(staff, partner, row(2500)).status_code == 302
    again = post_shares(staff, partner, row(2600, reason="Agreed by letter"), stored=1)
    assert again.status_code == 302, again.content.decode()
    later = row(2700) | {"effective_from": "2026-09-01"}
    assert post_shares(staff, partner, later, stored=2).status_code == 302
    assert share_in_force(partner.pk, TODAY) == 2600
    assert share_in_force(partner.pk, dt.date(2026, 9, 1)) == 2700


def test_the_service_refuses_what_the_page_refuses(staff: Client) -> None:
    partner = make_partner()

    def share(bps: int, day: dt.date = TODAY, **more: Any) -> RevenueShare:
        terms = ShareTerms(bps, day, **more)
        return set_share(partner_id=partner.pk, terms=terms, actor=SYSTEM, now=NOW)

    with pytest.raises(InvalidRequest) as refused:
        share(0)
    assert list(refused.value.details) == ["large_change"]
    share(2500)
    share(2600, reason="Agreed by letter")
    yesterday = TODAY - dt.timedelta(days=1)
    share(2500, yesterday)
    with pytest.raises(InvalidRequest) as refused:
        share(2400, yesterday, reason="Late")
    assert list(refused.value.details) == ["effective_from"]
    assert share_in_force(partner.pk, TODAY) == 2600
    with pytest.raises(NotFound):
        set_share(partner_id=0, terms=ShareTerms(2500, TODAY), actor=SYSTEM, now=NOW)
    with pytest.raises(IntegrityError, match="revenue_share_from_uniq"), transaction.atomic():
        RevenueShare.objects.create(partner=partner, effective_from=TODAY, partner_bps=1)
