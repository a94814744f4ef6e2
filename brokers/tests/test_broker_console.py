"""The console's broker pages: they open, they act through services, they never show a secret."""

from __future__ import annotations

import re
from typing import Any

import pytest
import responses
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from brokers.models import BrokerAccount, FeedAccount, FeedLogin
from brokers.sealed_credentials import egress_of, session_of
from brokers.tests.factories import make_account, make_contract, make_feed
from partners.tests.factories import make_customer, make_partner
from quantleap.core.models import AuditEntry, StaffUser
from quantleap.core.tests.confirming import confirm

pytestmark = pytest.mark.django_db

KITE = "http://127.0.0.1:8901"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha", password="x"))
    return client


def test_every_page_opens_and_shows_no_secret(
    staff: Client, django_assert_max_num_queries: Any
) -> None:
    account = make_account(make_customer(make_partner()), client_id="Z1", logged_in=True)
    for number in range(20):
        make_account(make_customer(make_partner()), client_id=f"Q{number}")
    feed, contract = make_feed(), make_contract()
    name = contract.broker_names.get(broker="zebu")
    pages = {
        "brokeraccount": account.pk,
        "feedaccount": feed.pk,
        "brokerinstrument": name.pk,
        "loginattempt": None,
    }
    for model, pk in pages.items():
        with django_assert_max_num_queries(14):
            answer = staff.get(reverse(f"admin:brokers_{model}_changelist"))
        assert answer.status_code == 200
        if pk is not None:
            answer = staff.get(reverse(f"admin:brokers_{model}_change", args=[pk]))
            assert answer.status_code == 200
            page = answer.content.decode()
            for hidden in ("key-Z1", "secret-Z1", "token-Z1", "key-feed", "secret-feed", "v1:"):
                assert hidden not in page


def test_switching_off_and_removing_ask_first(staff: Client) -> None:
    account = make_account(make_customer(make_partner()), client_id="Z1", logged_in=True)

    def act(name: str, **data: str) -> Any:
        url = reverse(f"admin:brokers_brokeraccount_{name}", args=[account.pk])
        assert staff.get(url).status_code == 200
        return confirm(staff, url, {"confirm": "yes", **data})

    assert act("switch_off").status_code == 302
    account.refresh_from_db()
    assert account.status == "disabled"
    assert act("set_egress", egress="nonsense", algo_id="").status_code == 400
    assert act("set_egress", egress="10.0.0.7", algo_id="ALGO1").status_code == 302
    account.refresh_from_db()
    assert (egress_of(account), account.algo_id) == ("10.0.0.7", "ALGO1")
    assert act("switch_on").status_code == 302
    assert act("remove").status_code == 302
    account.refresh_from_db()
    assert (account.status, account.api_secret) == ("removed", "")
    entry = AuditEntry.objects.filter(action="broker_account.removed").get()
    assert (entry.actor_kind, entry.actor_id) == ("STAFF", "asha")


def feed_form(**changes: str) -> dict[str, str]:
    return {
        "name": "main",
        "role": "PRIMARY",
        "is_active": "on",
        "broker": "zerodha",
        "client_id": "f1",
        "new_api_key": "k",
        "new_api_secret": "s",
    } | changes


def test_a_feed_account_is_made_and_logged_in_from_the_console(
    staff: Client, settings: LazySettings
) -> None:
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": KITE, "login": KITE, "instruments": ""}}
    added = staff.post(reverse("admin:brokers_feedaccount_add"), feed_form())
    assert added.status_code == 302, re.findall(r"errorlist.*", added.content.decode())
    feed = FeedAccount.objects.get()
    assert (feed.client_id, session_of(feed).api_key) == ("F1", "k")
    assert AuditEntry.objects.filter(action="feed_account.saved").exists()
    url = reverse("admin:brokers_feedaccount_log_in", args=[feed.pk])
    begin = reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk])
    asked = staff.get(url).content.decode()
    assert f'href="{begin}"' in asked
    assert '<code class="ql-code">http://testserver/broker-login/done</code>' in asked
    assert "copy <code>request_token</code>" in asked  # folded away
    with responses.RequestsMock() as wire:
        wire.post(
            f"{KITE}/session/token",
            json={"status": "success", "data": {"access_token": "t", "user_id": "F1"}},
        )
        assert confirm(staff, url, {"confirm": "yes", "code": "c1"}).status_code == 302
    feed.refresh_from_db()
    assert session_of(feed).access_token == "t"
    change = reverse("admin:brokers_feedaccount_change", args=[feed.pk])
    renamed = staff.post(change, feed_form(name="renamed", new_api_key="", new_api_secret=""))
    assert renamed.status_code == 302
    feed.refresh_from_db()
    assert (feed.name, session_of(feed).access_token) == ("renamed", "t")
    page = staff.get(change).content.decode()
    assert "until" in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"new_api_key": ""},
        {"new_api_key": "a b"},
        {"client_id": "a b"},
        {"broker": "icici"},
        {"name": "taken"},
        {"name": "second"},
    ],
    ids=str,
)
def test_a_wrong_feed_form_is_shown_again_and_saves_nothing(
    staff: Client, wrong: dict[str, str]
) -> None:
    make_feed("taken")  # and the active primary
    answer = staff.post(reverse("admin:brokers_feedaccount_add"), feed_form(**wrong))
    assert answer.status_code == 200
    assert FeedAccount.objects.count() == 1


def test_a_broker_that_is_not_enabled_offers_no_login(
    staff: Client, settings: LazySettings
) -> None:
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": "https://api.example", "login": "https://l.example", "instruments": ""}
    }
    feed = make_feed(logged_in=False)
    url = reverse("admin:brokers_feedaccount_log_in", args=[feed.pk])
    page = staff.get(url).content.decode()
    assert "does not talk to zerodha" in page
    begin = reverse("admin:brokers_feedaccount_begin_login", args=[feed.pk])
    assert begin not in page
    assert "<details" not in page
    answer = staff.get(begin, follow=True)
    assert "does not talk to zerodha" in answer.content.decode()
    assert not FeedLogin.objects.exists()
    assert confirm(staff, url, {"confirm": "yes", "code": "c1"}).status_code == 422


def test_looking_needs_a_permission(client: Client) -> None:
    client.force_login(StaffUser.objects.create_user("ravi", is_staff=True))
    account = make_account(make_customer(make_partner()))
    assert client.get(reverse("admin:brokers_brokeraccount_changelist")).status_code == 403
    url = reverse("admin:brokers_brokeraccount_remove", args=[account.pk])
    assert confirm(client, url, {"confirm": "yes"}).status_code == 403
    assert BrokerAccount.objects.get().status == "enabled"
