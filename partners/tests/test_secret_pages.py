"""A secret is created once and shown once, however often the page is reloaded."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client

from partners import one_time_secrets
from partners import permissions as known
from partners.models import Partner, PartnerKey, PartnerSecret, SecretShowing, WebhookEndpoint
from partners.one_time_secrets import Item
from partners.tests.factories import make_key, make_partner
from partners.webhooks.services import create_endpoint
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import NotFound
from quantleap.core.models import StaffUser
from quantleap.core.tests.confirming import confirm

FORM = {
    "environment": "live",
    "label": "backend",
    "permissions": [known.MARKETPLACE_READ],
    "requests_per_minute": "60",
    "requests_per_day": "10000",
}


@pytest.fixture
def asha(db: None) -> StaffUser:
    return StaffUser.objects.create_superuser("asha")


@pytest.fixture
def console(asha: StaffUser) -> Client:
    client = Client()
    client.force_login(asha)
    return client


def issue(console: Client) -> Any:
    partner = Partner.objects.first() or make_partner()
    return confirm(console, f"/admin/partners/partner/{partner.pk}/issue-key/", FORM)


def test_reloading_the_page_with_the_secret_makes_no_second_key(console: Client) -> None:
    answer = issue(console)
    assert answer.status_code == 302
    first = console.get(answer.url)
    assert 'id="api-secret"' in first.content.decode()
    for _ in range(2):
        again = console.get(answer.url)
        page = again.content.decode()
        assert again.status_code == 200
        assert "It was shown at" in page
        assert "rotate" in page
        assert 'id="api-secret"' not in page
    key = PartnerKey.objects.get()
    assert f"/admin/partners/partnerkey/{key.pk}/change/" in page
    assert PartnerSecret.objects.get().last4 in first.content.decode()


def test_the_secrets_page_has_no_store_and_no_referrer(console: Client) -> None:
    """No cache keeps it, and no other site learns its address."""
    page = console.get(issue(console).url)
    assert "no-store" in page.headers["Cache-Control"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in page.content.decode().split('id="content-main"')[1].split("</main")[0]


def maker(make: str) -> tuple[str, dict[str, Any]]:
    """The page that makes a secret, and its form, with a partner, a key and an endpoint there."""
    issued = make_key(make_partner())
    partner = Partner.objects.get()
    endpoint = create_endpoint(
        partner_id=partner.pk,
        environment="live",
        url="http://127.0.0.1:9/hook",
        actor=SYSTEM,
        now=clock.now(),
    ).endpoint
    pages: dict[str, tuple[str, dict[str, Any]]] = {
        "issue": (f"/admin/partners/partner/{partner.pk}/issue-key/", FORM),
        "rotate": (f"/admin/partners/partnerkey/{issued.key_id}/rotate/", {"overlap_hours": "1"}),
        "endpoint": (
            f"/admin/partners/partner/{partner.pk}/add-webhook-endpoint/",
            {"environment": "live", "url": "http://127.0.0.1:8/hook"},
        ),
        "signing": (
            f"/admin/partners/webhookendpoint/{endpoint.pk}/rotate-signing-secret/",
            {},
        ),
    }
    return pages[make]


makers = pytest.mark.parametrize("make", ["issue", "rotate", "endpoint", "signing"])


@makers
def test_whatever_makes_a_secret_redirects_and_makes_one(make: str, console: Client) -> None:
    url, form = maker(make)
    answer = confirm(console, url, form)
    assert answer.status_code == 302
    assert "/secret/shw_" in answer.url

    def counts() -> tuple[int, ...]:
        return (
            PartnerKey.objects.count(),
            PartnerSecret.objects.count(),
            WebhookEndpoint.objects.count(),
            len(WebhookEndpoint.objects.values_list("secret").distinct()),
        )

    before = counts()
    for _ in range(3):
        assert console.get(answer.url).status_code == 200
    assert counts() == before


@makers
def test_creating_a_secret_suffices_to_see_it(make: str, db: None) -> None:
    """Bug: a key was rotated, and the page with its new secret was 403."""
    url, form = maker(make)
    model = {"rotate": "partnerkey", "signing": "webhookendpoint"}.get(make, "partner")
    person = StaffUser.objects.create_user("ravi", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename=f"change_{model}"))
    client = Client()
    client.force_login(person)
    answer = confirm(client, url, form)
    assert answer.status_code == 302
    page = client.get(answer.url)
    assert page.status_code == 200
    shown = "signing-secret" if make in ("endpoint", "signing") else "api-secret"
    assert f'id="{shown}"' in page.content.decode()


def test_a_secret_is_shown_to_staff_who_are_logged_in_only(
    console: Client, asha: StaffUser
) -> None:
    """Control: the same address works as soon as the account is on again."""
    url = issue(console).url
    for off in ({"is_active": False}, {"is_staff": False}):
        StaffUser.objects.filter(pk=asha.pk).update(**off)
        assert console.get(url).status_code == 302
        StaffUser.objects.filter(pk=asha.pk).update(is_active=True, is_staff=True)
    console.force_login(asha)
    assert 'id="api-secret"' in console.get(url).content.decode()


def test_only_the_person_who_asked_sees_it(console: Client) -> None:
    url = issue(console).url
    stranger = Client()
    stranger.force_login(StaffUser.objects.create_superuser("ravi"))
    assert stranger.get(url).status_code == 404
    assert Client().get(url).status_code == 302  # to the login
    assert console.head(url).status_code == 405
    prefetched = console.get(url, headers={"Sec-Purpose": "prefetch;prerender"})
    assert prefetched.status_code == 405
    assert 'id="api-secret"' in console.get(url).content.decode()


def test_nothing_of_the_secret_lies_about_in_the_clear(console: Client) -> None:
    url = issue(console).url
    showing = SecretShowing.objects.get()
    page = console.get(url).content.decode()
    secret = page.split('id="api-secret"')[1].split(">")[1].split("<")[0]
    assert secret.startswith("sk_")
    assert secret not in showing.content
    assert SecretShowing.objects.get().content == ""
    assert secret not in str(list(console.session.items()))


def keep(staff: StaffUser, now: dt.datetime) -> str:
    return one_time_secrets.keep(
        staff_id=staff.pk,
        title="New key",
        hint="Copy it.",
        items=[Item("api-key", "Key", "pk_x")],
        back="/admin/",
        now=now,
    )


def test_after_ten_minutes_it_is_forgotten(asha: StaffUser) -> None:
    now = clock.now()
    public_id = keep(asha, now)
    late = now + one_time_secrets.LIFETIME
    showing = one_time_secrets.show(public_id=public_id, staff_id=asha.pk, now=late)
    assert (showing.page, showing.at, showing.back) == (None, None, "/admin/")
    one_time_secrets.forget(now=late)
    assert SecretShowing.objects.get().content == ""
    assert one_time_secrets.forget(now=late + one_time_secrets.REMEMBER) == 1
    with pytest.raises(NotFound):
        one_time_secrets.show(public_id=public_id, staff_id=asha.pk, now=now)


@pytest.mark.django_db(transaction=True)
def test_of_many_looks_at_once_one_sees_it() -> None:
    asha = StaffUser.objects.create_superuser("asha")
    now, looks = clock.now(), 6
    public_id, barrier = keep(asha, now), threading.Barrier(looks)

    def look(_number: int) -> bool:
        barrier.wait()
        try:
            return (
                one_time_secrets.show(public_id=public_id, staff_id=asha.pk, now=now).page
                is not None
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(looks) as pool:
        assert sum(pool.map(look, range(looks))) == 1


def test_no_permission_is_ticked_beforehand(console: Client) -> None:
    """Bug: all eight were, so that a key for one page of a portal could do everything."""
    partner = make_partner()
    url = f"/admin/partners/partner/{partner.pk}/issue-key/"
    field = console.get(url).context["form"]["permissions"]
    assert len(field.subwidgets) == len(known.ALL)
    assert not any(box.data["selected"] for box in field.subwidgets)
    refused = confirm(console, url, {**FORM, "permissions": []})
    assert refused.status_code == 400
    assert not PartnerKey.objects.exists()


def test_presets_and_explanations_cover_the_permissions(console: Client) -> None:
    for preset in known.PRESETS:
        assert set(preset.permissions) <= set(known.ALL)
    assert set(known.MEANING) == set(known.ALL)
    page = console.get(f"/admin/partners/partner/{make_partner().pk}/issue-key/").content.decode()
    for preset in known.PRESETS:
        assert preset.label in page
    for text in known.MEANING.values():
        assert text in page
