"""A row that cannot be decrypted affects only itself.

Bug: one account whose key was missing made `trading_accounts` fail for everybody.
"""

from __future__ import annotations

import base64
import io
import os
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from brokers import sealed_credentials
from brokers.base import LoginResult
from brokers.errors import BrokerUnavailable, CredentialsUnreadable
from brokers.feed import load_feeds
from brokers.models import BrokerAccount, FeedAccount
from brokers.readiness import readiness
from brokers.selectors import trading_accounts
from brokers.services import accounts, feeds
from brokers.services.login import initiate_login
from brokers.tests.factories import give_session, make_account, make_feed
from partners.tests.factories import make_customer, make_partner, make_tenant
from partners.webhooks.services import create_endpoint, rotate_secret, secrets_in_force
from quantleap.core import clock, crypto, key_alarm
from quantleap.core.audit import SYSTEM
from quantleap.core.checks import check_keys
from quantleap.core.crypto import key_id_of
from quantleap.core.models import StaffUser
from quantleap.core.reencryption import (
    SealedColumn,
    keys_in_use,
    reencrypt,
    sealed_columns,
    unknown_keys,
)

pytestmark = pytest.mark.django_db


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


@pytest.fixture
def ring(settings: Any) -> Any:
    """Two keys; ``use("b", "a")`` makes b the first."""
    keys = {name: key(name) for name in "abc"}

    def use(*names: str) -> None:
        settings.QUANTLEAP_ENCRYPTION_KEYS = ",".join(keys[name] for name in names)

    use("a")
    return use


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(StaffUser.objects.create_superuser("asha", "a@example.com", "x"))
    return client


def test_an_unreadable_account_stops_no_other(ring: Any) -> None:
    """It stays out; everybody else trades."""
    now, customer = clock.now(), make_customer(make_partner())
    ring("b", "a")
    lost = make_account(customer, logged_in=True)
    ring("a")
    well = make_account(customer, logged_in=True)
    moved = make_account(customer, logged_in=True)
    BrokerAccount.objects.filter(pk=moved.pk).update(access_token=well.access_token)
    opened = trading_accounts([lost.pk, well.pk, moved.pk], now)
    assert opened[well.pk].problem == ""
    assert opened[well.pk].session is not None
    for broken in (lost, moved):
        assert (opened[broken.pk].problem, opened[broken.pk].session) == (
            "credentials_unreadable",
            None,
        )
    ring("a", "b")
    assert trading_accounts([lost.pk], now)[lost.pk].problem == ""  # the key is back


def test_entering_credentials_again_fixes_the_account(ring: Any, staff: Client) -> None:
    """Until then the partner and staff see which account it is."""
    tenant = make_tenant()
    customer = make_customer(tenant.partner)
    account = make_account(customer, client_id="Z1", logged_in=True)
    ring("b")
    row = tenant.client.get("/partner/broker-accounts/Z1").json()["broker_account"]
    assert (row["ready_for_trading"], row["not_ready_reason"]) == (False, "credentials_unreadable")
    for page in ("changelist", "change"):
        args = [account.pk] if page == "change" else []
        url = reverse(f"admin:brokers_brokeraccount_{page}", args=args)
        assert "credentials unreadable" in staff.get(url).content.decode()
    with pytest.raises(CredentialsUnreadable):
        initiate_login(
            account=account, redirect_uri="", registered=(), actor=SYSTEM, now=clock.now()
        )
    accounts.connect_account(
        customer=customer,
        broker="zebu",
        client_id="Z1",
        api_key="new",
        api_secret="new",
        actor=SYSTEM,
        now=clock.now(),
    )
    account.refresh_from_db()
    assert readiness(account, clock.now()).reason == "no_login_today"


def test_a_feed_that_cannot_be_read_leaves_its_place_to_a_spare(
    ring: Any, settings: Any, staff: Client
) -> None:
    settings.QUANTLEAP_LIVE_BROKERS = ["zerodha"]
    ring("b")
    make_feed("main", logged_in=True)
    ring("a")
    make_feed("spare", role=FeedAccount.Role.SPARE, logged_in=True)
    assert [feed.name for feed in load_feeds(clock.now())] == ["spare"]
    assert "cannot be read" in staff.get("/admin/brokers/feedaccount/").content.decode()


def test_a_webhook_secret_that_cannot_be_read_can_be_replaced(ring: Any) -> None:
    created = create_endpoint(
        partner_id=make_partner().pk,
        environment="live",
        url="https://example.com/hook",
        actor=SYSTEM,
        now=clock.now(),
    )
    ring("b")
    fresh = rotate_secret(endpoint_id=created.endpoint.pk, actor=SYSTEM, now=clock.now())
    assert secrets_in_force(fresh.endpoint, clock.now()) == [fresh.secret]


# -- egress ------------------------------------------------------------------------------------
def test_a_proxys_password_is_neither_stored_nor_shown(ring: Any, staff: Client) -> None:
    account = make_account(make_customer(make_partner()), logged_in=True)
    accounts.set_egress(
        account=account,
        egress="http://user:hunter2@10.0.0.9:3128",
        algo_id="",
        actor=SYSTEM,
        now=clock.now(),
    )
    account.refresh_from_db()
    assert "hunter2" not in account.egress
    assert trading_accounts([account.pk], clock.now())[account.pk].egress.endswith(":3128")
    url = reverse("admin:brokers_brokeraccount_change", args=[account.pk])
    page = staff.get(url).content.decode()
    assert "http://user:[hidden]@10.0.0.9:3128" in page
    assert "hunter2" not in page
    accounts.remove_account(account=account, exit_now=False, actor=SYSTEM, now=clock.now())
    account.refresh_from_db()
    assert account.egress == ""


# -- retiring a key ----------------------------------------------------------------------------
def run(*arguments: str) -> str:
    said = io.StringIO()
    call_command("reencrypt", *arguments, stdout=said)
    return said.getvalue()


def test_every_sealed_column_is_known() -> None:
    assert {str(column) for column in sealed_columns()} == {
        *(f"brokers_brokeraccount.{name}" for name in sealed_credentials.SEALED),
        *(f"brokers_feedaccount.{name}" for name in ("api_key", "api_secret", "access_token")),
        "partners_webhookendpoint.secret",
        "partners_webhookendpoint.previous_secret",
        "partners_secretshowing.content",
    }


def test_a_key_is_retired_with_everything_still_readable(ring: Any) -> None:
    customer = make_customer(make_partner())
    rows = [make_account(customer, logged_in=True) for _ in range(5)]
    feed = make_feed(logged_in=True)
    ring("b", "a")
    assert "may be removed" not in run("--status")
    said = run("--chunk", "2")
    assert "brokers_brokeraccount.api_key: 4 of 5" in said
    assert "Key 'a' is unused: it may be removed" in said
    ring("b")
    assert unknown_keys() == {}
    for account in rows:
        account.refresh_from_db()
        assert (
            sealed_credentials.credentials_of(account).api_secret == f"secret-{account.client_id}"
        )
        assert key_id_of(account.access_token) == "b"
    feed.refresh_from_db()
    assert sealed_credentials.is_readable(feed)


def test_it_goes_on_where_it_was_stopped(ring: Any) -> None:
    customer = make_customer(make_partner())
    for _ in range(5):
        make_account(customer)
    ring("b", "a")
    column = next(c for c in sealed_columns() if str(c) == "brokers_brokeraccount.api_key")

    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reencrypt(column, chunk=2, report=stop)
    assert keys_in_use()[column] == {"a": 3, "b": 2}
    assert reencrypt(column, chunk=2).written == 3
    assert keys_in_use()[column] == {"b": 5}


def test_who_writes_meanwhile_wins(ring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account(make_customer(make_partner()), logged_in=True)
    ring("b", "a")
    column = SealedColumn(BrokerAccount, "access_token")
    opened = crypto.decrypt

    def log_in_meanwhile(stored: str, *, place: str) -> str:
        sealed = sealed_credentials.seal(account, "access_token", "newer")
        BrokerAccount.objects.filter(pk=account.pk).update(access_token=sealed)
        return opened(stored, place=place)

    monkeypatch.setattr(crypto, "decrypt", log_in_meanwhile)
    done = reencrypt(column)
    monkeypatch.undo()
    assert (done.written, done.changed_meanwhile) == (0, 1)
    account.refresh_from_db()
    assert sealed_credentials.session_of(account).access_token == "newer"


def test_a_key_that_is_missed_is_an_alarm(ring: Any, staff: Client) -> None:
    customer = make_customer(make_partner())
    ring("c")
    lost = make_account(customer)
    ring("a")
    give_session(make_account(customer), clock.now())
    assert key_alarm.look() == unknown_keys() == {"c": 2}
    assert [problem.id for problem in check_keys(databases=["default"])] == ["quantleap.W002"]
    page = staff.get("/admin/").content.decode()
    assert "2 values cannot be read" in page
    ring("b", "a")
    with pytest.raises(CommandError, match=rf"api_key of row {lost.pk}"):
        run()
    assert unknown_keys() == {"c": 2}  # everything else went on
    cache.clear()
    assert "cannot be read" not in staff.get("/admin/").content.decode()


def test_the_console_opens_while_the_cache_is_away(
    ring: Any, staff: Client, request: pytest.FixtureRequest
) -> None:
    """Bug: the first page was 500. Control: with a cache the tile is not there."""
    assert "Encryption keys" not in staff.get("/admin/").content.decode()
    ring("c")
    make_account(make_customer(make_partner()))
    ring("a")
    request.getfixturevalue("dead_cache")
    assert key_alarm.look() == {"c": 2}  # the alarm goes to the log all the same
    answer = staff.get("/admin/")
    assert answer.status_code == 200
    assert "The cache does not answer." in answer.content.decode()


# -- feed accounts while their columns are written again -------------------------------------------
def write_feeds_again(ring: Any) -> None:
    """A new first key, and every value of a feed account under it."""
    ring("b", "a")
    for name in ("api_key", "api_secret", "access_token"):
        reencrypt(SealedColumn(FeedAccount, name))


def test_a_feed_login_survives_reencryption(
    ring: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: "The feed account changed during the login". Control: a new secret is one."""
    feed = make_feed(client_id="F1", logged_in=False)
    settings.QUANTLEAP_BROKERS = {"zerodha": {"api": "http://k", "login": "", "instruments": ""}}

    def exchange(*args: Any) -> LoginResult:
        write_feeds_again(ring)
        return LoginResult(client_id="F1", access_token="today")

    monkeypatch.setattr(feeds, "exchange_code", exchange)
    done = feeds.complete_feed_login(feed=feed, code="c1", actor=SYSTEM, now=clock.now())
    assert sealed_credentials.session_of(done).access_token == "today"

    def exchange_and_change(*args: Any) -> LoginResult:
        rename(FeedAccount.objects.get(pk=feed.pk), api_secret="another")
        return LoginResult(client_id="F1", access_token="of the old secret")

    monkeypatch.setattr(feeds, "exchange_code", exchange_and_change)
    with pytest.raises(BrokerUnavailable, match="changed during the login"):
        feeds.complete_feed_login(feed=done, code="c2", actor=SYSTEM, now=clock.now())
    assert FeedAccount.objects.get(pk=feed.pk).access_token == ""


def rename(feed: FeedAccount, **changes: Any) -> FeedAccount:
    values: dict[str, Any] = {"name": "renamed", "api_key": "", "api_secret": ""} | changes
    return feeds.save_feed_account(
        feed=feed,
        broker=feed.broker,
        role=feed.role,
        client_id=feed.client_id,
        actor=SYSTEM,
        **values,
    )


def test_saving_a_feed_account_brings_no_old_ciphertext_back(ring: Any) -> None:
    """Bug: the old key was retired, and the feed account could not be read."""
    loaded = make_feed("main", client_id="F1")
    write_feeds_again(ring)
    assert rename(loaded).name == "renamed"
    ring("b")
    stored = FeedAccount.objects.get()
    assert stored.name == "renamed"
    assert sealed_credentials.credentials_of(stored).api_secret == "secret-main"
    assert sealed_credentials.session_of(stored).access_token == "token-main"


def test_saving_a_feed_account_keeps_a_login_of_meanwhile(ring: Any) -> None:
    """Control: another client id ends the session."""
    loaded = make_feed("main", client_id="F1")
    FeedAccount.objects.update(
        access_token=sealed_credentials.seal(loaded, "access_token", "newer")
    )
    assert sealed_credentials.session_of(rename(loaded)).access_token == "newer"
    loaded.client_id = "F2"
    assert rename(loaded).access_token == ""
