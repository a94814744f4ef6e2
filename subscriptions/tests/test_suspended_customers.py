"""A suspended partner and its customers, over real HTTP.

Seen: pause, cancel and mint were 401 for everybody, so that nobody could leave.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests
from pytest_django.live_server_helper import LiveServer

from brokers.tests.factories import make_account
from marketplace.tests.factories import load_reference_data, make_template
from partners.models import Customer, Partner
from partners.suspensions import reinstate_partner, suspend_partner
from partners.tests.factories import key_headers, make_key, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db(transaction=True)
EMAIL = "asha@example.com"
TIMEOUT = 20
Plan = Partner.Plan


class Caller:
    """Somebody with credentials, at a real socket."""

    def __init__(self, server: LiveServer, headers: dict[str, str]) -> None:
        self.base, self.headers = f"{server.url}/api/v1", headers

    def __call__(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        answer = requests.request(
            method,
            self.base + path,
            json=body or None,
            headers=self.headers,
            timeout=TIMEOUT,
        )
        content = answer.json()
        return answer.status_code, content.get("code", content)


@pytest.fixture
def partner(settings: Any) -> Partner:
    settings.QUANTLEAP_LIVE_BROKERS = ["zebu"]  # where a login begins, nothing is called yet
    load_reference_data()
    return make_partner("zebu")


@pytest.fixture
def backend(partner: Partner, live_server: LiveServer) -> Caller:
    """The partner's own program."""
    return Caller(live_server, key_headers(make_key(partner)))


@pytest.fixture
def mine(partner: Partner) -> list[str]:
    """The customer's three subscriptions."""
    subscriptions = [make_subscription(make_template(), partner, email=EMAIL) for _ in range(3)]
    make_account(Customer.objects.get(), client_id="ASHA1")
    return [subscription.public_id for subscription in subscriptions]


def customer(backend: Caller, live_server: LiveServer) -> Caller:
    """Whom the partner's program has let in a moment ago."""
    status, minted = backend("POST", "/partner/user-tokens", user_email=EMAIL)
    assert status == 201, minted
    return Caller(live_server, {"Authorization": f"Bearer {minted['user_token']}"})


def suspend(partner: Partner, plan: str) -> None:
    suspend_partner(
        partner_id=partner.pk,
        plan=plan,
        run_until=clock.ist_date(clock.now()) if plan == Plan.RUN_UNTIL else None,
        reason="complaints",
        actor=SYSTEM,
        now=clock.now(),
    )


@pytest.mark.parametrize("plan", [Plan.PAUSE_ALL, Plan.RUN_UNTIL, Plan.CANCEL_AT_PERIOD_END])
def test_pause_cancel_and_mint_were_401_for_everybody(
    partner: Partner, backend: Caller, live_server: LiveServer, mine: list[str], plan: str
) -> None:
    before = customer(backend, live_server)
    suspend(partner, plan)
    after = customer(backend, live_server)
    for asha in (before, after):
        for path in ("/user/subscriptions", f"/user/subscriptions/{mine[0]}", "/user/invoices"):
            assert asha("GET", path)[0] == 200
    status, paused = after("PUT", f"/user/subscriptions/{mine[0]}/pause", reason="I want out")
    assert (status, paused["subscription"]["status"]) == (200, "PAUSED")
    status, _ = before("DELETE", f"/user/subscriptions/{mine[0]}?open_positions=EXIT_NOW")
    assert status == 200
    status, login = after("POST", "/user/broker-accounts/ASHA1/oauth/initiate")
    assert (status, bool(login["oauth_url"])) == (200, True)
    assert backend("PUT", f"/partner/subscriptions/{mine[1]}/pause")[0] == 200
    assert backend("DELETE", f"/partner/subscriptions/{mine[1]}")[0] == 200
    assert (
        sorted(Subscription.objects.values_list("status", flat=True))[1:]
        == [
            "CANCELLED",
            "CANCELLED",
        ]
        or plan == Plan.PAUSE_ALL
    )
    # and everything else is said to be closed, in words
    shut = (403, "partner_suspended")
    assert backend("GET", "/partner/subscriptions") == shut
    assert backend("PUT", f"/partner/subscriptions/{mine[2]}/resume") == shut
    assert after("PUT", f"/user/subscriptions/{mine[2]}/resume") == shut
    choice = {"template_id": make_template().public_id, "broker_client_id": "ASHA1"}
    subscribing = {**choice, "user_email": EMAIL}
    assert backend("POST", "/partner/marketplace/subscribe", **subscribing) == shut
    # control: reinstated, the same calls are answered
    reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=clock.now())
    assert backend("GET", "/partner/subscriptions")[0] == 200
    assert backend("POST", "/partner/marketplace/subscribe", **subscribing)[0] == 201


def test_a_customer_reads_why_and_when_theirs_ends(
    partner: Partner, backend: Caller, live_server: LiveServer, mine: list[str]
) -> None:
    """The subscription shows its last day, or that it is paused since the partner is suspended."""
    suspend(partner, Plan.CANCEL_AT_PERIOD_END)
    asha = customer(backend, live_server)
    _, detail = asha("GET", f"/user/subscriptions/{mine[0]}")
    subscription = Subscription.objects.get(public_id=mine[0])
    assert subscription.ends_on is not None
    shown = detail["subscription"]
    assert (shown["status"], shown["ends_on"]) == ("ACTIVE", subscription.ends_on.isoformat())
    assert shown["next_billing_date"] is None
    assert asha("GET", "/user/payments")[0] == 200
    reinstate_partner(partner_id=partner.pk, reason="settled", actor=SYSTEM, now=clock.now())
    suspend(partner, Plan.PAUSE_ALL)
    _, detail = asha("GET", f"/user/subscriptions/{mine[0]}")
    shown = detail["subscription"]
    assert (shown["status"], shown["status_reason"], shown["reason"]) == (
        "PAUSED",
        "PARTNER_SUSPENDED",
        "The partner is suspended.",
    )
    assert [(hold["holder"], hold["scope"]) for hold in detail["holds"]] == [
        ("PARTNER_SUSPENDED", "PARTNER")
    ]
