"""From the first page to whoever is withheld, and out of it, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer
from partners.tests.factories import make_partner
from quantleap.core import clock
from quantleap.core.tests.browser import fits, grave, logged_in, shoot
from subscriptions.billing.selectors import withheld
from subscriptions.billing.tests.factories import bill, follow, load_billing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    with logged_in(
        "desk", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def look_at(page: Page, name: str) -> None:
    """On every screen: nothing is cut off, nothing is hard to read."""
    for look, width in (("light", 1440), ("phone", 390), ("dark", 1440)):
        page.emulate_media(color_scheme="dark" if look == "dark" else "light")
        page.set_viewport_size({"width": width, "height": 900})
        page.reload()
        shoot(page, f"{name}-{look}")
        assert fits(page), (name, look)
        assert grave(page) == [], (name, look)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.reload()


def test_who_is_withheld_is_found_from_the_first_page_and_mended(page: Page) -> None:
    load_billing()
    load_reference_data()
    today = clock.ist_date(clock.now())
    lost, wrong = (
        follow(make_template(), make_partner(), [today], state=state)[0] for state in ("", "28")
    )
    follow(make_template(), make_partner(), [today])
    bill(today)
    page.goto("/admin/")
    look_at(page, "withheld-today")
    page.click('a[href$="?withheld=state"]')
    page.get_by_text("28, not in force").wait_for()
    look_at(page, "withheld-list")
    page.get_by_role("link", name="Missing", exact=True).click()
    look_at(page, "withheld-customer")
    page.get_by_role("link", name="Change billing details").click()
    page.select_option("[name=state]", "33")
    page.fill("[name=reason]", "Asked by phone")
    look_at(page, "withheld-details")
    page.select_option("[name=state]", "33")
    page.fill("[name=reason]", "Asked by phone")
    page.get_by_role("button", name="Change billing details").click()
    page.get_by_text("the next invoices have the new details").wait_for()
    assert Customer.objects.get(pk=lost.customer_id).state == "33"
    assert [row.subscription for row in withheld(today, today)] == [wrong.public_id]
    assert bill(today).invoices == 1
