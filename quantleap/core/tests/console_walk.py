"""A walk through every page of the console in a browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from quantleap.core.models import StaffUser
from quantleap.core.tests.browser import fits, grave, shoot
from quantleap.core.tests.console_pages import pages

#: Violations in a library that we cannot override: (rule of axe, what it names) -> why.
ALLOWED: dict[tuple[str, str], str] = {}

#: Text that overflows its field onto its neighbour.
OVERLAPS = """() => [...document.querySelectorAll("#content .field-line, #content .ql-card")]
  .filter((box) => box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.innerText.slice(0, 80))"""


def faults(page: Page, look: str, *, theme: Any, width: int) -> list[str]:
    """What is wrong with which page: it scrolls sideways, a field overlaps its neighbour, axe finds
    a serious problem. ``page`` is logged in as "visitor"; ``theme`` is "light" or "dark"."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    problems, walked = [], 0
    for name, url in pages(StaffUser.objects.get(username="visitor")):
        answer = page.goto(url)
        if answer is None or answer.status != 200:
            problems.append(f"{name}: {answer and answer.status}")
            continue
        shoot(page, f"{look}-{name}")
        if not fits(page):
            problems.append(f"{name}: scrolls sideways")
        problems.extend(f"{name}: runs over: {text}" for text in page.evaluate(OVERLAPS))
        problems.extend(f"{name}: {fault}" for fault in grave(page, ALLOWED))
        walked += 1
    assert walked > 100
    return problems
