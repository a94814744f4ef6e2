"""The console in a real browser, for tests of its pages."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from playwright.sync_api import Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from quantleap.core.models import StaffUser

_PASSWORD = "secret-pass"


@contextmanager
def logged_in(
    name: str, *, chromium_path: str, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A tab in which the new superuser ``name`` is logged in.

    Any message on the browser's console fails the test.
    """
    # Playwright's loop runs in this thread, but the tests' own queries are synchronous.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    StaffUser.objects.create_superuser(name, f"{name}@example.com", _PASSWORD)
    complaints: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 1000}, base_url=server.url)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda m: complaints.extend([m.text] if m.type == "error" else []))
        tab.goto("/admin/login/")
        tab.fill("[name=username]", name)
        tab.fill("[name=password]", _PASSWORD)
        tab.click("button[type=submit]")
        yield tab
        browser.close()
        connections.close_all()  # beside Playwright's loop the test had a session of its own
    # each request thread of the live server returns its database session when it ends
    for thread in threading.enumerate():
        if thread.name.endswith("(process_request_thread)"):
            thread.join(10)
    assert complaints == []


def shoot(page: Page, name: str) -> None:
    """Save a screenshot if QUANTLEAP_SCREENSHOTS names a folder, for people to look at."""
    folder = os.environ.get("QUANTLEAP_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def fits(page: Page) -> bool:
    """Whether nothing but the tables' own scroll boxes is wider than the window."""
    return bool(
        page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )


def grave(page: Page, allowed: Collection[tuple[str, str]] = ()) -> list[str]:
    """What axe calls critical or serious: rule, location and the beginning of the element.

    ``allowed`` holds (rule, part of the location) of violations that cannot be fixed.
    """
    faults = []
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] not in ("critical", "serious"):
            continue
        for node in violation["nodes"]:
            target = " ".join(node["target"])
            if not any(rule == violation["id"] and named in target for rule, named in allowed):
                faults.append(f"{violation['id']} at {target}: {node['html'][:120]}")
    return faults
