"""A closure at short notice, entered in a real browser: form, preview, calendar; and it fits."""

from __future__ import annotations

import datetime as dt

import pytest
from pytest_django.live_server_helper import LiveServer

from marketplace.models import Holiday
from marketplace.tests import factories as make
from quantleap.core import clock
from quantleap.core.tests.browser import fits, grave, logged_in, shoot

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def coming_weekday() -> dt.date:
    """A day of the loaded year that is open as far as anybody knows."""
    calendar = make.load_reference_data()
    day = clock.ist_date(clock.now())
    if day.year not in calendar.years:
        return dt.date(max(calendar.years), 12, 24)
    return calendar.on_or_before(dt.date(day.year, 12, 24))


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1440)])
def test_a_closure_is_entered_looked_at_and_made(
    chromium_path: str,
    live_server: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    theme: str,
    width: int,
) -> None:
    day = coming_weekday()
    with logged_in(
        "asha", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as page:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # a literal there
        page.goto("/admin/marketplace/holiday/add/")
        page.fill("[name=day]", day.isoformat())
        page.fill("[name=description]", "Municipal elections")
        page.fill("[name=source]", "NSE/FAOP/72262 of 12 Jan 2026")
        page.click("text=Show what changes")
        page.wait_for_selector("text=Nothing is changed yet")
        assert fits(page)
        assert grave(page) == []
        shoot(page, f"calendar-preview-{width}")
        page.click("text=Correct it")
        page.wait_for_selector("text=Show what changes")
        assert page.input_value("[name=day]") == day.isoformat()
        assert page.input_value("[name=description]") == "Municipal elections"
        page.click("text=Show what changes")
        page.click("text=Change the calendar")
        page.wait_for_url("**/admin/marketplace/holiday/")
        assert fits(page)
    assert Holiday.objects.get(date=day).description == "Municipal elections"


def test_the_square_offs_touched_the_list_of_session_hours(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.load_reference_data()
    with logged_in(
        "asha", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as page:
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto("/admin/marketplace/sessionhours/")
            hours = page.locator("#changelist-form").bounding_box()
            panel = page.locator("section.ql-card").bounding_box()
            assert hours is not None
            assert panel is not None
            assert panel["y"] - (hours["y"] + hours["height"]) >= 12, "pixels between the two"
            assert fits(page)
            shoot(page, f"session-hours-{width}")
