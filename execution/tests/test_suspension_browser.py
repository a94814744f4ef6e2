"""Suspending and reinstating in a real browser, light, dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Partner
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.console import page_of
from quantleap.core.tests.browser import fits, grave, logged_in, shoot
from subscriptions.billing.tests.factories import HOME, bill, load_billing
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    with logged_in(
        "desk", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def look_at(page: Page, name: str, *, again: bool = False) -> None:
    """On every screen: nothing is cut off, nothing is hard to read. ``again``: a page that may be
    loaded once more is looked at in the dark, too."""
    looks = [("light", 1440), ("phone", 390)] + [("dark", 1440)] * again
    for look, width in looks:
        page.emulate_media(color_scheme="dark" if look == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        if look == "dark":
            page.reload()
        shoot(page, f"{name}-{look}")
        assert fits(page), (name, look)
        assert grave(page) == [], (name, look)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_partner_is_suspended_with_a_plan_and_reinstated(page: Page) -> None:
    load_reference_data()
    load_billing()
    partner = make_partner("zebu", name="Zebu")
    template = make_template()
    for _ in range(3):
        make_subscription(template, partner, user_state=HOME)
    bill(clock.ist_date(clock.now()))
    page.goto(reverse("admin:partners_partner_suspend", args=[partner.pk]))
    look_at(page, "suspend", again=True)
    page.select_option("[name=plan]", Partner.Plan.PAUSE_ALL)
    page.fill("[name=reason]", "its licence has ended")
    page.get_by_role("button", name="Suspend", exact=True).click()
    page.get_by_text("Suspend the partner?").wait_for()
    look_at(page, "suspend-confirm")
    page.get_by_role("button", name="Suspend", exact=True).click()
    page.get_by_text("Zebu is suspended: 3 subscriptions paused.").wait_for()
    look_at(page, "suspended-partner", again=True)
    page.goto("/admin/")
    look_at(page, "today-suspended", again=True)
    page.goto(reverse("admin:subscriptions_hold_changelist"))
    look_at(page, "suspension-holds", again=True)
    page.goto(page_of(Subscription.objects.first()))  # type: ignore[arg-type]
    look_at(page, "suspended-subscription", again=True)
    page.goto(reverse("admin:partners_partner_reinstate", args=[partner.pk]))
    page.fill("[name=reason]", "licence renewed")
    look_at(page, "reinstate")
    page.get_by_role("button", name="Reinstate", exact=True).click()
    page.get_by_text("Subscriptions that trade again: 3").wait_for()
    assert set(Subscription.objects.values_list("status", flat=True)) == {"ACTIVE"}
