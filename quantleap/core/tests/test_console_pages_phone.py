"""Every page of the console on a phone, beside the walk of test_console_pages.py."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from quantleap.core.tests.console_walk import faults


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_every_page_fits_and_can_be_used_by_everybody_on_a_phone(console_page: Page) -> None:
    assert faults(console_page, "phone", theme="light", width=390) == []
