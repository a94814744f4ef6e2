"""Every page of the console in a real browser: it opens, fits, and is accessible.

Here in dark mode on a desktop; test_console_pages_phone.py does it on a phone.
"""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.html import strip_tags
from playwright.sync_api import Page, expect

from quantleap.core.models import StaffUser
from quantleap.core.tests.browser import fits, grave
from quantleap.core.tests.console_pages import NO_ROW_PAGES, furnish, unfurnished
from quantleap.core.tests.console_walk import ALLOWED, OVERLAPS, faults


@pytest.fixture
def visitor(db: None) -> StaffUser:
    """A superuser beside a day and a month of business."""
    furnish()
    return StaffUser.objects.create_superuser("visitor", "visitor@example.com", "secret-pass")


@pytest.mark.django_db
def test_every_registered_page_has_a_row_to_open(visitor: StaffUser) -> None:
    assert unfurnished() == []


@pytest.mark.django_db
def test_identifiers_in_the_heading_are_as_they_are(visitor: StaffUser) -> None:
    """Bug: Sub_5pda06dxci1ps1mtx0jk above the subscription sub_5pda06dxci1ps1mtx0jk."""
    client = Client()
    client.force_login(visitor)
    request = RequestFactory().get("/admin/")
    request.user = visitor
    looked_at = 0
    for model, page in admin.site._registry.items():
        row = page.get_queryset(request).order_by("-pk").first()
        if row is None or model in NO_ROW_PAGES:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
        answer = client.get(reverse(name, args=[admin.utils.quote(row.pk)]))
        assert answer.status_code == 200, model
        (heading,) = re.findall(r"<h1.*?</h1>", answer.content.decode(), re.S)
        said = " ".join(unescape(strip_tags(heading)).split())
        assert said.endswith(" ".join(str(row).split())), model
        looked_at += 1
    assert looked_at > 40


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_every_page_fits_and_can_be_used_by_everybody_at_a_desk(console_page: Page) -> None:
    assert faults(console_page, "desk", theme="dark", width=1440) == []


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_menu_opens_and_closes_by_its_one_button(empty_console: Page) -> None:
    page = empty_console
    page.goto("/admin/")
    button = page.get_by_role("button", name="Show or hide the menu")
    menu = page.locator("#nav-sidebar")
    for width, open_at_first in ((1440, True), (390, False)):
        page.set_viewport_size({"width": width, "height": 900})
        expect(button).to_have_count(1)
        expect(menu).to_be_visible(visible=open_at_first)
        button.press("Enter")
        expect(menu).to_be_visible(visible=not open_at_first)


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_control_a_nameless_field_and_a_long_word_are_noticed(empty_console: Page) -> None:
    page = empty_console
    page.goto("/admin/")
    assert grave(page, ALLOWED) == []
    page.evaluate(
        """() => {
          const box = document.createElement("div");
          box.className = "field-line";
          box.innerHTML = `<select><option>a</option></select><b>${"x".repeat(900)}</b>`;
          document.getElementById("content").append(box);
        }"""
    )
    assert [fault.split()[0] for fault in grave(page, ALLOWED)] == ["select-name"]
    assert len(page.evaluate(OVERLAPS)) == 1
    assert not fits(page)
