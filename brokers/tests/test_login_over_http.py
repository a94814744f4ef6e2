"""The console's feed login as a program without a browser does it: links, forms, redirects."""

from __future__ import annotations

import pytest
import requests
from pytest_django.live_server_helper import LiveServer

from brokers.models import FeedAccount
from brokers.simulator.server import Ports
from clients.demo.staff import Staff
from quantleap.core.models import StaffUser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("simulated")]


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_the_demos_staff_log_a_feed_in(live_server: LiveServer, ports: Ports, broker: str) -> None:
    StaffUser.objects.create_superuser("asha", password="secret-pass")
    requests.post(
        f"http://127.0.0.1:{ports.control}/apps",
        json={
            "broker": broker,
            "api_key": f"feed{broker}",
            "redirect_url": f"{live_server.url}/broker-login/done",
        },
        timeout=5,
    ).raise_for_status()
    staff = Staff(live_server.url)
    staff.log_in("asha", "secret-pass")
    staff.add_feed("Feed", broker, "FEED01", "PRIMARY")
    assert FeedAccount.objects.get().access_token
