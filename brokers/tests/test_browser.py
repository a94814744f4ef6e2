"""A feed account's morning in a real browser: console, broker's page, and back by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from brokers.models import FeedAccount
from brokers.simulator.server import Ports
from brokers.tests.factories import make_feed
from quantleap.core.tests.browser import fits, logged_in, shoot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("simulated"),
]


@pytest.fixture
def page(
    chromium_path: str, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """A logged-in operator; any message on the console fails the test."""
    with logged_in(
        "operator", chromium_path=chromium_path, server=live_server, monkeypatch=monkeypatch
    ) as tab:
        yield tab


def feed_at(broker: str, simulator: Ports, landing: str) -> FeedAccount:
    """Not logged in, its application registered with our landing page."""
    feed = make_feed("Morning feed", broker, client_id="F1", app="feedapp", logged_in=False)
    requests.post(
        f"http://127.0.0.1:{simulator.control}/apps",
        json={"broker": broker, "api_key": "feedapp", "redirect_url": landing},
        timeout=5,
    ).raise_for_status()
    return feed


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_a_feed_account_is_logged_in_without_copying_a_code(
    page: Page, live_server: LiveServer, ports: Ports, broker: str
) -> None:
    feed = feed_at(broker, ports, f"{live_server.url}/broker-login/done")
    change = reverse("admin:brokers_feedaccount_change", args=[feed.pk])
    page.goto(change)
    page.get_by_role("link", name="Log in at the broker").click()
    expect(page.get_by_text(f"{live_server.url}/broker-login/done")).to_be_visible()
    code = page.locator("[name=code]")
    expect(code).to_be_hidden()  # the way by hand is folded away
    shoot(page, f"feed-login-{broker}")
    page.set_viewport_size({"width": 390, "height": 800})
    assert fits(page)
    shoot(page, f"feed-login-{broker}-narrow")
    page.get_by_text("The broker sends you to another address?").click()
    expect(code).to_be_visible()
    assert fits(page)
    shoot(page, f"feed-login-{broker}-by-hand")
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.get_by_role("link", name=f"Log in at {feed.get_broker_display()} as F1").click()
    page.fill("[name=user_id]", "f1")
    page.fill("[name=password]", "any")
    page.get_by_role("button").click()
    page.wait_for_url(f"{live_server.url}{change}")
    said = f"Morning feed is logged in at {feed.get_broker_display()} until"
    expect(page.get_by_text(said)).to_be_visible()
    shoot(page, f"feed-logged-in-{broker}")
    feed.refresh_from_db()
    assert feed.access_token
    page.go_back()  # to the broker's page: the landing itself left no entry in the history
    assert "code=" not in page.url
    assert "request_token=" not in page.url


def test_whoever_lands_by_mistake_reads_a_page(page: Page) -> None:
    page.goto("/broker-login/done")
    expect(page.get_by_role("heading", name="There is no login to finish here")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 800})
            assert fits(page)
            shoot(page, f"landing-{scheme}-{width}")
