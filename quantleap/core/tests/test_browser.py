"""Error pages, login, staff and schedules in a real browser: desktop and phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import ModelEntry
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from quantleap.core.models import StaffUser
from quantleap.core.tests.browser import fits, grave, logged_in, shoot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WIDTHS = (1440, 390)
THEMES: tuple[Any, ...] = ("light", "dark")
BEAT = "/admin/django_celery_beat/periodictask/"


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A logged-in superuser among others, with beat's schedules; the tick is stopped."""
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        ModelEntry.from_entry(name, **entry)
    PeriodicTask.objects.filter(name="execution-tick").update(enabled=False)
    Group.objects.create(name="Finance")
    StaffUser.objects.create_user("asha", "asha@example.com", is_staff=True, first_name="Asha")
    with logged_in(
        "boss", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def unwatched(page: Page) -> Page:
    """Another tab with the same login: an error status is a message on the browser's console."""
    browser = page.context.browser
    assert browser is not None
    address = page.url.partition("/admin/")[0]
    state = page.context.storage_state()
    return browser.new_context(storage_state=state, base_url=address).new_page()


def looks(page: Page, name: str) -> None:
    """Take screenshots of the open page; it must fit both widths and be readable for everybody."""
    # A click that leads elsewhere returns while the old document is gone and the new one is empty.
    page.wait_for_function("document.documentElement && document.readyState === 'complete'")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in THEMES:
            page.evaluate(
                "dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark"
            )
            shoot(page, f"{name}-{width}-{theme}")
            assert fits(page), f"{name} at {width} px is wider than the window"
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def test_an_error_page_says_what_to_do_and_leads_back(page: Page) -> None:
    tab = unwatched(page)
    tab.goto("/admin/core/auditentry/abc/change/")
    expect(tab.locator("h1")).to_have_text("There is no such page")
    expect(tab.locator("dd").first).to_contain_text("req_")
    for theme in THEMES:
        tab.emulate_media(color_scheme=theme)
        tab.reload()
        assert grave(tab) == [], theme
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            shoot(tab, f"error-404-{width}-{theme}")
            assert fits(tab)
    tab.get_by_role("link", name="To the list").click()
    expect(tab.locator("#changelist")).to_be_visible()
    tab.goto("/admin/core/auditentry/?q=%00")
    shoot(tab, "error-400")
    expect(tab.locator("h1")).to_have_text("This address cannot be read")
    tab.goto("/admin/logout/")
    shoot(tab, "error-405")
    expect(tab.locator("h1")).to_contain_text("with a button only")


def test_error_pages_use_the_consoles_theme(page: Page) -> None:
    tab = unwatched(page)
    tab.goto("/admin/core/auditentry/")
    tab.evaluate("localStorage.setItem('_x_adminTheme', '\"dark\"')")
    tab.emulate_media(color_scheme="light")
    tab.goto("/admin/no/such/page/")
    expect(tab.locator("html")).to_have_class("dark")


def test_people_and_roles_fit_every_screen(page: Page) -> None:
    asha = StaffUser.objects.get(username="asha")
    page.goto("/admin/core/staffuser/")
    looks(page, "staff-list")
    page.goto(f"/admin/core/staffuser/{asha.pk}/change/")
    looks(page, "staff-page")
    page.goto("/admin/core/staffuser/add/")
    looks(page, "staff-add")
    page.goto(f"/admin/core/staffuser/{asha.pk}/password/")
    looks(page, "staff-password")
    page.goto("/admin/password_change/")
    looks(page, "own-password")
    page.goto(f"/admin/auth/group/{Group.objects.get().pk}/change/")
    looks(page, "role-page")
    page.goto("/admin/core/auditentry/")
    looks(page, "audit-list")


def test_a_stopped_tick_is_red_and_one_way_leads_to_start_it(page: Page) -> None:
    page.goto("/admin/")
    looks(page, "today")
    page.locator("a.ql-bad", has_text="Schedules").click()
    looks(page, "schedules")
    page.get_by_role("link", name="execution-tick").click()
    looks(page, "schedule-page")
    page.get_by_role("link", name="Start again").click()
    looks(page, "schedule-start")
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("body")).to_contain_text("execution-tick runs again.")
    page.locator("a[href$='/stop/']").first.click()
    page.get_by_role("button", name="Stop").click()
    looks(page, "schedule-stop-asks-again")
    assert PeriodicTask.objects.get(name="execution-tick").enabled


def test_the_login_page_fits_and_says_what_is_wrong(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/admin/login/")
    looks(page, "login")
    page.fill("[name=username]", "boss")
    page.fill("[name=password]", "wrong")
    with page.expect_navigation():
        page.click("button[type=submit]")
    looks(page, "login-refused")
    assert grave(page) == []
