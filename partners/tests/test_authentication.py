"""Authentication over HTTP on a real route (docs/partners.md#keys-and-secrets)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import bcrypt
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from partners import permissions as known
from partners.models import Customer, Partner, PartnerKey, PartnerSecret, UserToken
from partners.services import IssuedKey, issue_key, revoke_key, rotate_key
from partners.tests.factories import (
    customer_client,
    key_headers,
    make_customer,
    make_key,
    make_partner,
    partner_client,
)
from partners.verification import mac_of
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

ROUTE = "/api/v1/partner/user-tokens"
BODY = {"user_email": "Asha@Example.com"}


@pytest.fixture
def bcrypts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every bcrypt check that was paid for."""
    paid: list[bool] = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        paid.append(real(password, hashed))
        return paid[-1]

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return paid


def call(issued: IssuedKey | dict[str, str], **extra: Any) -> Any:
    headers = key_headers(issued) if isinstance(issued, IssuedKey) else issued
    client = APIClient(raise_request_exception=False)
    return client.post(ROUTE, BODY, format="json", headers=headers, **extra)


def other_secret(issued: IssuedKey) -> str:
    """A well-formed secret of the same partner that is not this key's."""
    key = PartnerKey.objects.select_related("partner").get(pk=issued.key_id)
    return make_key(key.partner, key.environment).secret


@pytest.mark.django_db
def test_a_key_issues_a_token_for_user_routes() -> None:
    answer = call(make_key(make_partner()))
    assert answer.status_code == 201
    assert answer.json()["user_token"].startswith("ut_")
    assert answer.json()["expires_in"] == 900
    assert UserToken.objects.get().customer.email == "asha@example.com"
    assert answer.json()["user_token"] not in UserToken.objects.get().token_hash


@pytest.mark.django_db
@pytest.mark.parametrize("template_id", ["bsk_unknown", "x", 5, "a\x00"])
def test_a_token_for_a_template_that_is_not_on_offer_is_refused(template_id: object) -> None:
    client = partner_client(make_key(make_partner()))
    answer = client.post(ROUTE, {**BODY, "template_id": template_id})
    assert answer.status_code == (404 if template_id in ("bsk_unknown", "x") else 400)
    assert UserToken.objects.count() == Customer.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_email"),
        ({"user_email": "not an address"}, "user_email"),
        ({"user_email": 5}, "user_email"),
        ({"user_email": "a" * 250 + "@b.in"}, "user_email"),
        ({**BODY, "partner_id": 1}, "partner_id"),
    ],
)
def test_a_wrong_body_is_refused_by_the_fields_name(body: dict[str, Any], field: str) -> None:
    answer = partner_client(make_key(make_partner())).post(ROUTE, body)
    assert answer.status_code == 400
    assert list(answer.json()["details"]) == [field]
    assert Customer.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spoil",
    [
        lambda h: {},
        lambda h: {"Authorization": h["Authorization"]},
        lambda h: {"X-Partner-Secret": h["X-Partner-Secret"]},
        lambda h: {**h, "Authorization": h["Authorization"].replace("Bearer", "Basic")},
        lambda h: {**h, "Authorization": h["Authorization"] + "x"},
        lambda h: {**h, "Authorization": "Bearer " + "x" * 10_000},
        lambda h: {**h, "X-Partner-Secret": ""},
        lambda h: {**h, "X-Partner-Secret": h["X-Partner-Secret"][:-1]},
        lambda h: {**h, "X-Partner-Secret": h["X-Partner-Secret"] + "a" * 200},
        lambda h: {"Authorization": "Bearer ut_unknown"},
        lambda h: {"Authorization": "Bearer \x00"},
    ],
)
def test_missing_and_malformed_credentials_are_one_401(spoil: Any) -> None:
    answer = call(spoil(key_headers(make_key(make_partner()))))
    assert answer.status_code == 401
    body = answer.json()
    assert body["code"] == "invalid_credentials"
    assert body["statusCode"] == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.django_db
def test_a_mistyped_secret_reaches_neither_database_nor_bcrypt(
    django_assert_num_queries: Any, bcrypts: list[bool]
) -> None:
    headers = key_headers(make_key(make_partner()))
    secret = headers["X-Partner-Secret"]
    swapped = secret[:-10] + ("a" if secret[-10] != "a" else "b") + secret[-9:]
    with django_assert_num_queries(0):
        assert call({**headers, "X-Partner-Secret": swapped}).status_code == 401
    assert bcrypts == []


@pytest.mark.django_db
def test_a_secret_of_another_key_or_environment_is_refused() -> None:
    partner = make_partner()
    first, second, test = make_key(partner), make_key(partner), make_key(partner, "test")
    for wrong in (second, test):
        headers = {**key_headers(first), "X-Partner-Secret": wrong.secret}
        assert call(headers).status_code == 401


@pytest.mark.django_db
def test_a_request_costs_one_query_and_no_bcrypt(bcrypts: list[bool]) -> None:
    issued = make_key(make_partner(), permissions=[])
    assert call(issued).status_code == 403  # authenticated, permission missing
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert call(issued).status_code == 403
    assert len(captured) == 1  # the first one has also written when the secret was used
    assert bcrypts == []


@pytest.mark.django_db
def test_wrong_secrets_cost_no_bcrypt_and_lock_nobody_out(bcrypts: list[bool]) -> None:
    """Bug: after ten of them a client that had not called lately got 401 for a minute."""
    issued = make_key(make_partner())
    wrong = {**key_headers(issued), "X-Partner-Secret": other_secret(issued)}
    assert {call(wrong).status_code for _ in range(30)} == {401}
    assert call(issued).status_code == 201
    assert bcrypts == []


def _revoke(issued: IssuedKey) -> None:
    revoke_key(key_id=issued.key_id, actor=SYSTEM, now=clock.now())


def _expire(issued: IssuedKey) -> None:
    PartnerKey.objects.filter(pk=issued.key_id).update(expires_at=clock.now())


def _expire_secret(issued: IssuedKey) -> None:
    PartnerSecret.objects.filter(key_id=issued.key_id).update(expires_at=clock.now())


def _rotate_at_once(issued: IssuedKey) -> None:
    rotate_key(key_id=issued.key_id, actor=SYSTEM, now=clock.now(), overlap=dt.timedelta(0))


def _replace_mac(issued: IssuedKey) -> None:
    mac_key, mac = mac_of(issued.key, "another")
    PartnerSecret.objects.filter(key_id=issued.key_id).update(mac_key=mac_key, mac=mac)


@pytest.mark.django_db
@pytest.mark.parametrize("end", [_revoke, _expire, _expire_secret, _rotate_at_once, _replace_mac])
def test_a_keys_end_acts_on_the_next_request(end: Any) -> None:
    issued = make_key(make_partner())
    assert call(issued).status_code == 201
    end(issued)
    answer = call(issued)
    assert answer.status_code == 401
    assert answer.json()["message"] == "Invalid API key or secret"


@pytest.mark.django_db
def test_a_permission_taken_away_acts_on_the_next_request() -> None:
    issued = make_key(make_partner())
    assert call(issued).status_code == 201
    PartnerKey.objects.filter(pk=issued.key_id).update(permissions=[known.REVENUE_READ])
    answer = call(issued)
    assert answer.status_code == 403
    assert answer.json()["details"] == {"permission": "subscriptions:write"}


@pytest.mark.django_db
def test_a_suspension_acts_at_once_but_not_on_customers() -> None:
    """Bug: 401 for the partner, and so for every customer of theirs."""
    issued = make_key(make_partner())
    assert call(issued).status_code == 201
    Partner.objects.filter(keys=issued.key_id).update(status=Partner.Status.SUSPENDED)
    assert call(issued).status_code == 201  # a customer who is known gets in
    new = partner_client(issued).post(ROUTE, {"user_email": "nobody.yet@example.com"})
    assert (new.status_code, new.json()["code"]) == (403, "partner_suspended")
    shut = partner_client(issued).get("/api/v1/partner/subscriptions")
    assert (shut.status_code, shut.json()["code"]) == (403, "partner_suspended")
    assert "pause and cancel" in shut.json()["message"]


@pytest.mark.django_db
def test_two_secrets_live_during_rotation_and_never_three() -> None:
    now = clock.now()
    issued = make_key(make_partner())
    second = rotate_key(key_id=issued.key_id, actor=SYSTEM, now=now)
    assert call(issued).status_code == call(second).status_code == 201
    third = rotate_key(key_id=issued.key_id, actor=SYSTEM, now=now)
    assert call(issued).status_code == 401
    assert call(second).status_code == call(third).status_code == 201


@pytest.mark.django_db
def test_last_use_is_written_at_most_once_a_minute() -> None:
    issued = make_key(make_partner())
    call(issued)
    first = PartnerSecret.objects.get(key_id=issued.key_id).last_used_at
    call(issued)
    assert first is not None
    assert PartnerSecret.objects.get(key_id=issued.key_id).last_used_at == first
    earlier = first - dt.timedelta(minutes=2)
    PartnerSecret.objects.filter(key_id=issued.key_id).update(last_used_at=earlier)
    call(issued)
    latest = PartnerSecret.objects.get(key_id=issued.key_id).last_used_at
    assert latest is not None
    assert latest >= first


@pytest.mark.django_db
class TestAllowList:
    """The partner's addresses, whatever the headers claim."""

    def test_an_address_off_the_list_is_403(self) -> None:
        issued = make_key(make_partner(allowed_ips=["203.0.113.0/24"]))
        answer = call(issued, REMOTE_ADDR="198.51.100.1")
        assert (answer.status_code, answer.json()["code"]) == (403, "ip_not_allowed")
        assert call(issued, REMOTE_ADDR="203.0.113.9").status_code == 201
        assert call(issued, REMOTE_ADDR="::ffff:203.0.113.9").status_code == 201

    def test_a_bad_secret_off_the_list_is_401_not_403(self) -> None:
        issued = make_key(make_partner(allowed_ips=["203.0.113.0/24"]))
        wrong = {**key_headers(issued), "X-Partner-Secret": other_secret(issued)}
        assert call(wrong, REMOTE_ADDR="198.51.100.1").status_code == 401

    @pytest.mark.parametrize("header", ["203.0.113.9", "203.0.113.9, 203.0.113.9", "::1"])
    def test_a_spoofed_header_moves_nobody(self, header: str, settings: Any) -> None:
        issued = make_key(make_partner(allowed_ips=["203.0.113.0/24"]))
        spoofed = {"HTTP_X_FORWARDED_FOR": header, "HTTP_X_REAL_IP": "203.0.113.9"}
        assert call(issued, REMOTE_ADDR="198.51.100.1", **spoofed).status_code == 403
        settings.QUANTLEAP_TRUSTED_PROXIES = ["10.0.0.1"]
        behind = {**spoofed, "HTTP_X_FORWARDED_FOR": f"{header}, 198.51.100.1"}
        assert call(issued, REMOTE_ADDR="10.0.0.1", **behind).status_code == 403
        honest = {"HTTP_X_FORWARDED_FOR": f"{header}, 203.0.113.9"}
        assert call(issued, REMOTE_ADDR="10.0.0.1", **honest).status_code == 201


@pytest.mark.django_db
def test_user_tokens_outlive_their_partners_suspension() -> None:
    partner = make_partner()
    customer = make_customer(partner)
    client = customer_client(customer)
    # A customer's token is no partner's key: 401 here proves only that it was read as a customer.
    assert client.post(ROUTE, BODY).json()["message"] == "Invalid API key or secret"
    templates = "/api/v1/schema?audience=nobody"  # public route: 400 when the caller is fine
    assert client.get(templates).status_code == 400
    Partner.objects.filter(pk=partner.pk).update(status=Partner.Status.SUSPENDED)
    assert client.get("/api/v1/user/subscriptions").status_code == 200
    assert client.get(templates).status_code == 403
    Partner.objects.filter(pk=partner.pk).update(status=Partner.Status.ACTIVE)
    UserToken.objects.update(expires_at=clock.now())
    assert client.get(templates).status_code == 401


@pytest.mark.django_db
def test_a_bad_key_is_401_on_a_public_route_too() -> None:
    client = APIClient(raise_request_exception=False)
    url = "/api/v1/schema?audience=nobody"
    assert client.get(url).status_code == 400
    assert client.get(url, headers={"Authorization": "Bearer nonsense"}).status_code == 401


@pytest.mark.django_db
def test_a_key_is_no_secret_and_fits_one_environment() -> None:
    """The key does not work as its own secret."""
    issued = make_key(make_partner(), "test")
    flipped = {name: text.replace("_test_", "_live_") for name, text in key_headers(issued).items()}
    assert call(flipped).status_code == 401
    assert partner_client(issued).post(ROUTE, BODY).status_code == 201
    assert UserToken.objects.get().environment == "test"


@pytest.mark.django_db
def test_an_unknown_permission_cannot_be_granted() -> None:
    from quantleap.core.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="Unknown: all"):
        issue_key(
            partner_id=make_partner().pk,
            environment="live",
            permissions=["all"],
            actor=SYSTEM,
            now=clock.now(),
        )
