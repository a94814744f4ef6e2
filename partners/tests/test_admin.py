"""The console's pages of this room, through their real forms."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from partners import permissions as known
from partners.models import Partner, PartnerKey, RevenueShare, WebhookDelivery, WebhookEndpoint
from partners.ports import KNOWN_BROKERS
from partners.services import IssuedKey
from partners.tests.factories import make_customer, make_key, make_partner, partner_client
from partners.webhooks.services import create_endpoint, secrets_in_force
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm

pytestmark = pytest.mark.django_db


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha"))
    return client


def shown(page: str, element: str) -> str:
    """The text of a ``<code id=…>`` of a page, as a client without our code reads it."""
    match = re.search(rf'<code id="{element}"[^>]*>([^<]+)</code>', page)
    assert match is not None, f"no {element} in the page"
    return match[1]


def partner_form(**fields: Any) -> dict[str, Any]:
    return {
        "slug": "zebu",
        "name": "Zebu",
        "type": "BROKER",
        "default_broker": "zebu",
        "default_state": "33",
        "allowed_ips": "",
        "oauth_redirect_urls": "http://127.0.0.1:8000/callback",
        "revenue_shares-TOTAL_FORMS": "1",
        "revenue_shares-INITIAL_FORMS": "0",
        "revenue_shares-0-effective_from": "2026-04-01",
        "revenue_shares-0-partner_bps": "2500",
        "keys-TOTAL_FORMS": "0",
        "keys-INITIAL_FORMS": "0",
        **fields,
    }


def issue_form(**fields: Any) -> dict[str, Any]:
    return {
        "confirm": "yes",
        "environment": "live",
        "label": "backend",
        "permissions": list(known.ALL),
        "requests_per_minute": "600",
        "requests_per_day": "100000",
        **fields,
    }


def test_a_partner_and_its_first_key_are_made_in_the_console(console: Client) -> None:
    answer = console.post("/admin/partners/partner/add/", partner_form())
    assert answer.status_code == 302, answer.content.decode()
    partner = Partner.objects.get()
    assert RevenueShare.objects.get().partner_bps == 2500
    assert partner.oauth_redirect_urls == ["http://127.0.0.1:8000/callback"]

    url = f"/admin/partners/partner/{partner.pk}/issue-key/"
    assert console.get(url).status_code == 200
    page = confirm(console, url, issue_form(), follow=True)
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]
    key, secret = (
        shown(page.content.decode(), "api-key"),
        shown(page.content.decode(), "api-secret"),
    )
    stored = PartnerKey.objects.get()
    assert (stored.key, stored.requests_per_minute, stored.label) == (key, 600, "backend")
    issued = IssuedKey(stored.pk, stored.public_id, key, secret, stored.expires_at)
    minted = partner_client(issued).post("/partner/user-tokens", {"user_email": "a@b.in"})
    assert minted.status_code == 201
    entry = AuditEntry.objects.get(action="key.issued")
    assert (entry.actor_id, secret in str(entry.data)) == ("asha", False)


def test_the_secret_is_on_no_page_afterwards(console: Client) -> None:
    issued = make_key(make_partner())
    page = console.get(f"/admin/partners/partnerkey/{issued.key_id}/change/").content.decode()
    assert issued.secret not in page
    assert issued.secret[-4:] in page
    assert PartnerKey.objects.get().secrets.get().hash not in page


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("slug", "Zebu!", "2 to 12"),
        ("slug", "z", "2 to 12"),
        ("allowed_ips", "10.0.0.1/8", "10.0.0.1/8: host bits are set"),
        ("allowed_ips", "10.0.0.1\r\nsomewhere", "somewhere: neither"),
        ("allowed_ips", "10.0.0.300, 10.0.0.1", "10.0.0.300: neither"),
        ("oauth_redirect_urls", "javascript:alert(1)", "javascript:alert(1): Begin it with"),
        ("oauth_redirect_urls", "http://portal.example.com/cb", "Only https"),
        ("oauth_redirect_urls", "https://Portal.example.com/cb", "https://portal.example.com/cb"),
        ("oauth_redirect_urls", "https://a.example/1\nhttps://..com/", "https://..com/: The host"),
        ("default_broker", "foobar", "foobar"),
        ("default_broker", "", "required"),
        ("default_state", "TN", "Not a GST state code in force"),
        ("default_state", "28", "Andhra Pradesh is 37"),
    ],
)
def test_a_wrong_partner_is_refused_in_words(
    console: Client, field: str, value: str, words: str
) -> None:
    """Bug: "Item 1 in the array did not validate:" and no reason; any text as default broker."""
    answer = console.post("/admin/partners/partner/add/", partner_form(**{field: value}))
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors[field]
    assert words in " ".join(errors)
    assert "Item" not in " ".join(errors)
    assert not Partner.objects.exists()


@pytest.mark.parametrize(
    "typed",
    [
        "10.0.0.1\r\n10.0.0.2",
        "10.0.0.1,10.0.0.2",
        "10.0.0.1, 10.0.0.2,",
        " 10.0.0.1 ;\n\n10.0.0.2\n10.0.0.1",
    ],
)
def test_addresses_stand_on_lines_or_between_commas(console: Client, typed: str) -> None:
    """Bug: '10.0.0.1\\r\\n10.0.0.2' was one address that is none."""
    answer = console.post("/admin/partners/partner/add/", partner_form(allowed_ips=typed))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    partner = Partner.objects.get()
    assert partner.allowed_ips == ["10.0.0.1", "10.0.0.2"]
    page = console.get(f"/admin/partners/partner/{partner.pk}/change/").content.decode()
    assert "10.0.0.1\n10.0.0.2</textarea>" in page


def test_a_comma_may_be_part_of_a_url(console: Client) -> None:
    typed = "https://a.example/cb?x=1,2, https://b.example/cb,https://c.example/cb"
    answer = console.post("/admin/partners/partner/add/", partner_form(oauth_redirect_urls=typed))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert Partner.objects.get().oauth_redirect_urls == [
        "https://a.example/cb?x=1,2",
        "https://b.example/cb",
        "https://c.example/cb",
    ]


def test_an_unsupported_stored_broker_must_be_replaced(
    console: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = make_partner("zebu")
    monkeypatch.setattr(KNOWN_BROKERS, "get", lambda: lambda: {"zerodha": "Zerodha"})
    url = f"/admin/partners/partner/{partner.pk}/change/"
    assert "zebu (unknown: choose another)" in console.get(url).content.decode()
    refused = console.post(url, partner_form(default_broker="zebu"))
    assert "does not know" in str(refused.context["adminform"].form.errors["default_broker"])
    assert console.post(url, partner_form(default_broker="zerodha")).status_code == 302
    partner.refresh_from_db()
    assert partner.default_broker == "zerodha"


def test_rotation_and_revocation(console: Client) -> None:
    issued = make_key(make_partner())
    base = f"/admin/partners/partnerkey/{issued.key_id}"
    page = confirm(console, f"{base}/rotate/", {"overlap_hours": "24"}, follow=True)
    secret = shown(page.content.decode(), "api-secret")
    fresh = IssuedKey(issued.key_id, issued.key_public_id, issued.key, secret, issued.expires_at)
    route, body = "/partner/user-tokens", {"user_email": "a@b.in"}
    for issued_key in (issued, fresh):
        assert partner_client(issued_key).post(route, body).status_code == 201

    asked = confirm(console, f"{base}/revoke/", {"confirm": "yes"})
    assert "cannot be undone" in asked.content.decode()
    assert partner_client(fresh).post(route, body).status_code == 201
    assert confirm(console, f"{base}/revoke/", {"again": "yes"}).status_code == 302
    for issued_key in (issued, fresh):
        assert partner_client(issued_key).post(route, body).status_code == 401


def test_suspension_is_confirmed_with_a_reason(console: Client) -> None:
    issued = make_key(make_partner())
    partner = Partner.objects.get()
    base = f"/admin/partners/partner/{partner.pk}"
    plan = {"plan": "PAUSE_ALL", "again": "yes"}
    assert confirm(console, f"{base}/suspend/", plan).status_code == 400
    assert confirm(console, f"{base}/suspend/", {"reason": "debt"}).status_code == 400
    assert confirm(console, f"{base}/suspend/", {"reason": "debt", **plan}).status_code == 302
    route = "/partner/subscriptions"
    assert partner_client(issued).get(route).status_code == 403
    assert confirm(console, f"{base}/reinstate/", {"reason": "paid"}).status_code == 302
    assert partner_client(issued).get(route).status_code == 200
    actions = AuditEntry.objects.filter(target_type="partner").values_list("action", flat=True)
    assert set(actions) == {"partner.suspended", "partner.reinstated"}


def test_webhook_endpoints_and_deliveries(console: Client) -> None:
    partner = make_partner()
    url = f"/admin/partners/partner/{partner.pk}/add-webhook-endpoint/"
    form = {"confirm": "yes", "environment": "live", "url": "http://10.0.0.1/"}
    refused = confirm(console, url, form)
    assert refused.status_code == 400
    assert "https" in refused.content.decode()
    good = {**form, "url": "http://127.0.0.1:9/hook", "events": []}
    page = confirm(console, url, good, follow=True)
    endpoint = WebhookEndpoint.objects.get()
    assert (
        shown(page.content.decode(), "signing-secret") == secrets_in_force(endpoint, clock.now())[0]
    )

    base = f"/admin/partners/webhookendpoint/{endpoint.pk}"
    page = confirm(console, f"{base}/rotate-signing-secret/", follow=True)
    assert shown(page.content.decode(), "signing-secret").startswith("whsec_")
    delivery = WebhookDelivery.objects.create(
        partner_id=partner.pk,
        endpoint=endpoint,
        event_id="evt_1",
        type="execution.failed",
        body="{}",
        status="FAILED",
        attempts=10,
    )
    again = f"/admin/partners/webhookdelivery/{delivery.pk}/send-again/"
    answer = confirm(console, again, follow=True)
    assert "sent again" in answer.content.decode()
    disable = {"reason": "asked to"}
    assert confirm(console, f"{base}/disable/", disable).status_code == 302
    assert confirm(console, f"{base}/enable/", {"confirm": "yes"}).status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.status == "ENABLED"


def test_send_again_makes_a_pending_retry_now(console: Client) -> None:
    """Bug: refused for hours while the next try was hours away."""
    _rows(1)
    delivery = WebhookDelivery.objects.get()
    later = clock.now() + dt.timedelta(hours=5)
    WebhookDelivery.objects.update(attempts=4, next_attempt_at=later)
    url = f"/admin/partners/webhookdelivery/{delivery.pk}/send-again/"
    assert "it happens now instead" in console.get(url).content.decode()
    answer = confirm(console, url, follow=True)
    assert "The pending retry happens now" in answer.content.decode()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("PENDING", 4)
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at <= clock.now()


MODELS = ["partner", "partnerkey", "customer", "webhookendpoint", "webhookdelivery"]


def _rows(count: int) -> None:
    for _ in range(count):
        partner = make_partner()
        make_key(partner)
        make_customer(partner)
        endpoint = create_endpoint(
            partner_id=partner.pk,
            environment="live",
            url="http://127.0.0.1:9/hook",
            actor=SYSTEM,
            now=clock.now(),
        ).endpoint
        WebhookDelivery.objects.create(
            partner_id=partner.pk,
            endpoint=endpoint,
            event_id="evt_1",
            type="execution.failed",
            body="{}",
            next_attempt_at=clock.now(),
        )


@pytest.mark.parametrize("model", MODELS)
def test_lists_open_with_the_same_queries_however_long(
    model: str, console: Client, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    url = reverse(f"admin:partners_{model}_changelist")
    console.get(url)  # what a process remembers it asks once
    counts = []
    for _ in range(2):
        _rows(3)
        with CaptureQueriesContext(connection) as captured:
            assert console.get(url).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]
    assert console.get(url + "?partner=none&q=x").status_code in (200, 302)


@pytest.mark.parametrize("model", MODELS)
def test_every_row_opens(model: str, console: Client) -> None:
    from django.apps import apps

    _rows(1)
    row = apps.get_model("partners", model).objects.first()
    page = console.get(reverse(f"admin:partners_{model}_change", args=[row.pk]))
    assert page.status_code == 200


def test_somebody_who_may_only_look_cannot_act() -> None:
    from django.contrib.auth.models import Permission

    user = StaffUser.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    issued = make_key(make_partner())
    partner = Partner.objects.get()
    assert client.get(f"/admin/partners/partner/{partner.pk}/change/").status_code == 200
    for url, form in (
        (f"/admin/partners/partner/{partner.pk}/issue-key/", issue_form()),
        (f"/admin/partners/partnerkey/{issued.key_id}/revoke/", {"confirm": "yes", "again": "yes"}),
        (f"/admin/partners/partnerkey/{issued.key_id}/rotate/", {"confirm": "yes"}),
    ):
        assert client.post(url, form).status_code == 403
    assert PartnerKey.objects.get().status == "ACTIVE"
