"""Fixtures for the tests of all rooms."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.conf import LazySettings

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

    from quantleap.core.tests.matrix.dataset import Dataset


KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"


@pytest.fixture
def dataset(db: None, settings: LazySettings) -> Iterator[Dataset]:
    """Data of several tenants side by side, without logging: thousands of refusals are one line
    each.

    The brokers are those of the simulator, which does not run.
    """
    from quantleap.core.tests.matrix.dataset import make_dataset  # not before Django is set up

    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }
    logging.disable(logging.CRITICAL)
    yield make_dataset()
    logging.disable(logging.NOTSET)


@pytest.fixture
def empty_console(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The tab of "visitor", a superuser of a console in which nothing has happened yet."""
    from quantleap.core.tests.browser import logged_in

    with logged_in(
        "visitor", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


@pytest.fixture
def console_page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The tab of "visitor", a superuser of a console with something on every page; any message on
    the browser's console fails the test."""
    from quantleap.core.tests.browser import logged_in
    from quantleap.core.tests.console_pages import furnish

    furnish()
    with logged_in(
        "visitor", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab
