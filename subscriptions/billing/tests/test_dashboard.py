"""The page Today says of the month what its reader may know, and raises its voice in time."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from quantleap.core import clock
from quantleap.core.console import Panel, Tile
from quantleap.core.models import StaffUser
from subscriptions.billing.dashboard import tiles
from subscriptions.billing.invoicing.runs import SILENCE
from subscriptions.billing.ledger import checks
from subscriptions.billing.models import BillingRun, LedgerCheck
from subscriptions.billing.tests.factories import START, bill, load_billing, noon

pytestmark = pytest.mark.django_db


def shown(now: dt.datetime, *rights: str) -> dict[str, Tile | Panel]:
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.create_user(f"s{StaffUser.objects.count()}", is_staff=True)
    request.user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="billing", codename__in=rights)
    )
    return {tile.title: tile for tile in tiles(request, now)}


ALL = ("view_billingrun", "view_ledgercheck")


def tones(now: dt.datetime) -> list[tuple[str, str]]:
    entries = shown(now, *ALL).values()
    return [(entry.value, entry.tone) for entry in entries if isinstance(entry, Tile)]


def test_everybody_sees_what_he_may() -> None:
    now = clock.now()
    assert shown(now) == {}
    assert list(shown(now, "view_billingrun")) == ["Billing run"]
    assert list(shown(now, "view_ledgercheck")) == ["Ledger checks"]


def test_before_the_first_morning() -> None:
    assert tones(clock.now()) == [("None yet", ""), ("None yet", "")]


def test_a_good_morning_and_one_that_did_not_come() -> None:
    load_billing()
    bill(START)
    LedgerCheck.objects.filter(pk=checks.check_ledger(now=noon(START)).pk).update(
        checked_at=noon(START)
    )
    assert tones(noon(START)) == [("Finished", "good"), ("Passed", "good")]
    later = noon(START) + dt.timedelta(days=2)
    assert tones(later) == [("Finished", "bad"), ("Passed", "bad")]


def test_a_run_that_died_and_books_that_do_not_hold() -> None:
    now = clock.now()
    run = BillingRun.objects.create(as_of=START, started_at=now, heartbeat=now)
    LedgerCheck.objects.create(
        ok=False, accounts=1, transactions=1, entries=2, invoices=0, checked_at=now
    )
    assert tones(now) == [("Running", "good"), ("Failed", "bad")]
    BillingRun.objects.filter(pk=run.pk).update(heartbeat=now - SILENCE * 2)
    assert tones(now)[0] == ("Silent", "bad")
    BillingRun.objects.filter(pk=run.pk).update(finished_at=now, error="no rate", withheld=0)
    assert tones(now)[0] == ("Failed", "bad")
    BillingRun.objects.filter(pk=run.pk).update(error="", withheld=2)
    assert tones(now)[0] == ("Finished", "warn")
