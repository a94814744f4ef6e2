"""Two people save the same share in the same second, in real transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client

from partners.models import Partner, RevenueShare
from partners.revenue_shares import ShareTerms, set_share
from partners.tests.factories import make_partner
from partners.tests.share_rows import post_shares, row
from quantleap.core import clock
from quantleap.core.admin.base import ConsoleAdmin
from quantleap.core.audit import SYSTEM
from quantleap.core.models import StaffUser
from quantleap.core.tests.parallel import somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff() -> Iterator[Client]:
    client = Client(raise_request_exception=False)
    client.force_login(StaffUser.objects.create_superuser("asha"))
    yield client
    connections.close_all()


def saved_beside_another(staff: Client, partner: Partner, new: dict[str, str]) -> Any:
    """The answer to who saves a share when another one of the day is written and not committed."""
    answers: list[Any] = []

    def save() -> None:
        answers.append(post_shares(staff, partner, new))
        connections.close_all()

    beside = threading.Thread(target=save)
    try:
        with transaction.atomic():
            today = clock.ist_date(clock.now())
            set_share(
                partner_id=partner.pk,
                terms=ShareTerms(2600, today),
                actor=SYSTEM,
                now=clock.now(),
            )
            beside.start()
            while beside.is_alive() and not somebody_waits():
                pass
    finally:
        beside.join()
    return answers[0]


def of_today(bps: int, **more: str) -> dict[str, str]:
    return row(bps, **more) | {"effective_from": str(clock.ist_date(clock.now()))}


def test_who_is_second_by_a_moment_reads_why_beside_the_field(staff: Client) -> None:
    partner = make_partner()
    answer = saved_beside_another(staff, partner, of_today(2500))
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "There is a share of 2600 basis points from this day on." in page
    assert 'value="2500"' in page
    assert RevenueShare.objects.get().partner_bps == 2600


def test_who_said_why_takes_its_place(staff: Client) -> None:
    partner = make_partner()
    answer = saved_beside_another(staff, partner, of_today(2500, reason="By letter"))
    assert answer.status_code == 302
    assert list(RevenueShare.objects.order_by("id").values_list("partner_bps", flat=True)) == [
        2600,
        2500,
    ]


def test_control_without_the_second_look_it_is_an_error(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ConsoleAdmin, "changeform_view")
    answer = saved_beside_another(staff, make_partner(), of_today(2500))
    assert answer.status_code == 500
