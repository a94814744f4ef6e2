"""The partner's pages in a real browser: what only their scripts do, and how they look."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.core import mail
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from marketplace.tests import factories as make
from partners import permissions
from partners.emails import mails
from partners.models import Customer, PartnerKey
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.tests.browser import fits, grave, logged_in, shoot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

_THEME = "dark => document.documentElement.classList.toggle('dark', dark)"


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A logged-in person; any message on the console fails the test."""
    with logged_in(
        "asha", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def look(page: Page, name: str) -> None:
    """Both widths, both themes; nothing may be wider than the window."""
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        for theme in ("light", "dark"):
            page.evaluate(
                "dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark"
            )
            assert fits(page), f"{name} at {width} px"
            shoot(page, f"{name}-{width}-{theme}")
    page.evaluate(_THEME, False)
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_a_key_is_issued_copied_and_not_made_again_by_a_reload(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    partner = make_partner("zebu", name="Zebu")
    page.goto(f"/admin/partners/partner/{partner.pk}/issue-key/")
    boxes = page.locator("[name=permissions]")
    expect(boxes).to_have_count(len(permissions.ALL))
    assert not any(box.is_checked() for box in boxes.all())
    look(page, "key-issue")
    page.click("text=Read only")
    ticked = [box.get_attribute("value") for box in boxes.all() if box.is_checked()]
    assert ticked == [
        permissions.MARKETPLACE_READ,
        permissions.SUBSCRIPTIONS_READ,
        permissions.BROKER_ACCOUNTS_READ,
        permissions.REVENUE_READ,
    ]
    page.click("#content-main button[type=submit]")
    secret = page.locator("#api-secret").inner_text()
    page.click("[data-copy=api-secret]")
    expect(page.locator("#copied")).to_have_text("X-Partner-Secret is in the clipboard.")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    look(page, "key-shown")
    page.reload()
    expect(page.locator("#content-main")).to_contain_text("It was shown at")
    expect(page.locator("#api-secret")).to_have_count(0)
    look(page, "key-shown-already")
    assert PartnerKey.objects.count() == 1
    page.click("#content-main a")
    page.wait_for_url(f"**/partnerkey/{PartnerKey.objects.get().pk}/change/")


def test_the_partners_form_says_beside_its_fields_what_is_wrong(page: Page) -> None:
    page.goto("/admin/partners/partner/add/")
    page.fill("[name=slug]", "zebu")
    page.fill("[name=name]", "Zebu")
    page.select_option("[name=default_broker]", label="Zebu")
    page.fill("[name=allowed_ips]", "10.0.0.1\n10.0.0.300")
    page.fill("[name=oauth_redirect_urls]", "https://..com/")
    page.click("[name=_save]")
    for text in ("10.0.0.300: neither an IP address", "https://..com/: The host name"):
        expect(page.locator("#partner_form")).to_contain_text(text)
    assert page.input_value("[name=allowed_ips]") == "10.0.0.1\n10.0.0.300", "nothing is lost"
    look(page, "partner-errors")
    page.fill("[name=allowed_ips]", "10.0.0.1\n10.0.0.2")
    page.fill("[name=oauth_redirect_urls]", "https://portal.example.com/back")
    page.click("[name=_save]")
    expect(page.locator("body")).to_contain_text("was added successfully")


def test_partners_are_chosen_by_name_on_the_template_page(page: Page) -> None:
    make.load_test_contracts(clock.ist_date(clock.now()))
    zebu, kite = make_partner("zebu", name="Zebu"), make_partner("kite", name="Kite")
    page.goto("/admin/marketplace/template/add/")
    page.select_option("[name=prices-0-partner]", label="Zebu (zebu)")
    look(page, "template-prices")
    page.click("text=Who sees it")
    page.click(".select2-selection")
    page.keyboard.type("kit")
    page.keyboard.press("Enter")
    chosen = page.eval_on_selector_all(
        "[name=visible_to] option:checked", "found => found.map(one => one.value)"
    )
    assert chosen == [str(kite.pk)]
    assert page.input_value("[name=prices-0-partner]") == str(zebu.pk)
    look(page, "template-visibility")


def test_an_address_is_changed_and_confirmed_from_its_mail(page: Page) -> None:
    customer = make_customer(make_partner("zebu", name="Zebu"), "asha@example.com")
    page.goto(f"/admin/partners/customer/{customer.pk}/change-email/")
    look(page, "email-change")
    page.fill("[name=user_email]", "Asha.Rao@example.net")
    page.fill("[name=reason]", "wrote to us")
    page.click("#content-main button[type=submit]")
    expect(page.locator("#content-main")).to_contain_text("asha.rao@example.net")
    look(page, "email-change-again")
    page.click("#content-main button[name=again], #content-main button[type=submit]")
    page.wait_for_url(f"**/customer/{customer.pk}/change/")
    look(page, "email-changed-customer")
    for name in ("emailchange", "customermail"):
        page.goto(f"/admin/partners/{name}/")
        look(page, f"email-{name}")
    mails.send_due(now=clock.now())
    (body,) = (
        str(message.body) for message in mail.outbox if message.to == ["asha.rao@example.net"]
    )
    link = re.search(r"/confirm-email\?token=\S+", body)
    assert link is not None
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(link[0])
            assert fits(page)
            assert grave(page, set()) == []
            shoot(page, f"confirm-email-{scheme}-{width}")
    page.goto(link[0])
    assert not Customer.objects.filter(email_confirmed_at__isnull=False).exists()
    page.get_by_role("button", name="Yes, confirm it").press("Enter")
    expect(page.locator("h1")).to_have_text("Your e-mail address is confirmed")
    assert "token" not in page.url
    shoot(page, "confirm-email-done")
    assert Customer.objects.filter(pk=customer.pk, email_confirmed_at__isnull=False).exists()
    page.goto(link[0])  # the link of the mail, opened once more
    expect(page.locator("h1")).to_have_text("Your e-mail address is confirmed")
