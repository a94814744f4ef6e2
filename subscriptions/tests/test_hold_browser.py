"""Holding and letting go in a real browser, light, dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.urls import reverse
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from marketplace.tests.factories import load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.console import page_of
from quantleap.core.tests.browser import fits, grave, logged_in, shoot
from subscriptions.models import Hold, Subscription
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


def test_a_customer_is_held_with_what_it_reaches_and_let_go(page: Page) -> None:
    load_reference_data()
    partner = make_partner("zebu")
    for _ in range(3):
        subscription = make_subscription(
            make_template(), partner, email="asha@example.com", client_id="ASHA1"
        )
    page.goto(reverse("admin:subscriptions_hold_changelist"))
    look_at(page, "holds-empty", again=True)
    page.get_by_role("link", name="Place a hold").first.click()  # another is in the empty list
    page.fill("[name=target]", subscription.customer.public_id)
    page.fill("[name=note]", "compliance hold, case 4711")
    look_at(page, "hold-place")
    page.get_by_role("button", name="Hold", exact=True).click()
    assert page.get_by_text("Active subscriptions that it reaches").is_visible()
    assert not Hold.objects.exists()
    look_at(page, "hold-confirm")
    page.get_by_role("button", name="Hold", exact=True).click()
    page.get_by_text("is placed: 3 subscriptions changed.").wait_for()
    look_at(page, "hold-page", again=True)
    page.goto(page_of(subscription))
    look_at(page, "held-subscription", again=True)
    page.goto(reverse("admin:subscriptions_hold_changelist"))
    look_at(page, "holds", again=True)
    page.goto(reverse("admin:subscriptions_hold_lift", args=[Hold.objects.get().pk]))
    page.fill("[name=note]", "cleared by the desk")
    look_at(page, "hold-lift")
    page.get_by_role("button", name="Lift").click()
    page.get_by_text("is lifted: 3 subscriptions changed.").wait_for()
    assert set(Subscription.objects.values_list("status", flat=True)) == {"ACTIVE"}
