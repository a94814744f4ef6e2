"""Where an account's calls leave: a proxy or a source address, in the one spelling that is used."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.models import BrokerAccount
from brokers.sealed_credentials import egress_of
from brokers.services.accounts import set_egress
from brokers.tests.factories import make_account
from partners.tests.factories import make_customer, make_partner
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> BrokerAccount:
    return make_account(make_customer(make_partner()))


def put(account: BrokerAccount, egress: str) -> str:
    set_egress(account=account, egress=egress, algo_id="", actor=SYSTEM, now=clock.now())
    account.refresh_from_db()
    return egress_of(account)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" 203.0.113.7 ", "203.0.113.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("http://Proxy.example.com:3128/", "http://proxy.example.com:3128"),
        ("http://10.0.0.9:3128", "http://10.0.0.9:3128"),
        ("http://user:p%40ss@10.0.0.9:3128", "http://user:p%40ss@10.0.0.9:3128"),
        ("", ""),
    ],
)
def test_proxies_and_source_addresses(account: BrokerAccount, typed: str, stored: str) -> None:
    assert put(account, typed) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "proxy.example.com:3128",
        "ftp://proxy.example.com:3128",
        "http://１２７.0.0.1:3128",
        "http://2130706433:3128",
        "http://127。0。0。1:3128",
        "http://..com:3128",
        "http://[fe80::1%1]:3128",
        "http://proxy.example.com:3128/x",
        "http://proxy.example.com:3128/?x=1",
        "http://proxy.example.com:3128#x",
        "http://proxy .example.com:3128",
        "http://user:p ss@10.0.0.9:3128",
        "http://a@b@10.0.0.9:3128",
        "http://10.0.0.9:3128\r\nX: y",
        "http://10.0.0.9:99999",
        "http://127.0.0.1:3128",
        "http://localhost:3128",
        "http://169.254.169.254",
        "http://0.0.0.0:3128",
        "http://[::1]:3128",
        "http://[::ffff:127.0.0.1]:3128",
        "0.0.0.0",
        "224.0.0.1",
        "１０.0.0.1",
        "fe80::1%eth0",
    ],
)
@pytest.mark.parametrize("profile", ["production", "staging"])
def test_what_is_neither_is_refused_with_a_reason(
    account: BrokerAccount, typed: str, settings: Any, profile: str
) -> None:
    settings.QUANTLEAP_PROFILE = profile
    with pytest.raises(InvalidRequest) as caught:
        put(account, typed)
    assert caught.value.details["egress"]
    account.refresh_from_db()
    assert egress_of(account) == ""
