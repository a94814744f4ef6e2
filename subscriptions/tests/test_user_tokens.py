"""A user token never exceeds the key that minted it, and carries it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from marketplace.tests.factories import load_reference_data, make_template
from partners import permissions
from partners.models import Partner, PartnerKey, UserToken
from partners.services import IssuedKey, mint_user_token, revoke_key
from partners.tests.factories import make_customer, make_key, make_partner, partner_client
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import NotFound
from quantleap.core.models import AuditEntry
from subscriptions.models import Subscription

MAIL = {"user_email": "asha@example.com", "user_state": "33"}
ACCOUNT = {"broker_client_id": "Z56001"}


@pytest.fixture
def partner(db: None) -> Partner:
    load_reference_data()
    return make_partner()


def token_client(issued: IssuedKey) -> APIClient:
    """A client with the token that this key mints over HTTP."""
    minted = partner_client(issued).post("/partner/user-tokens", MAIL)
    assert minted.status_code == 201, minted.content
    client = APIClient(headers={"Authorization": f"Bearer {minted.json()['user_token']}"})
    client.default_format = "json"
    return client


def refused(answer: Any) -> str:
    """The permission that a 403 names."""
    assert answer.status_code == 403, answer.content
    assert answer.json()["code"] == "permission_denied"
    return str(answer.json()["details"]["permission"])


def test_a_pause_only_key_minted_a_token_that_subscribed(partner: Partner) -> None:
    template = make_template()
    issued = make_key(partner, permissions=[permissions.SUBSCRIPTIONS_WRITE])
    direct = partner_client(issued).post(
        "/partner/marketplace/subscribe", {**MAIL, **ACCOUNT, "template_id": template.public_id}
    )
    assert refused(direct) == permissions.MARKETPLACE_SUBSCRIBE
    client = token_client(issued)
    subscribe = f"/marketplace/subscribe/{template.public_id}"
    assert refused(client.post(subscribe, ACCOUNT)) == permissions.MARKETPLACE_SUBSCRIBE
    assert refused(client.get("/user/invoices")) == permissions.REVENUE_READ
    assert refused(client.get("/user/broker-accounts")) == permissions.BROKER_ACCOUNTS_READ
    assert refused(client.get("/user/subscriptions")) == permissions.SUBSCRIPTIONS_READ
    assert refused(client.get("/marketplace/templates")) == permissions.MARKETPLACE_READ
    assert not Subscription.objects.exists()


def test_who_subscribed_with_a_token_was_attributed_to_no_key(partner: Partner) -> None:
    template, issued = make_template(), make_key(partner)
    client = token_client(issued)
    assert client.post(f"/marketplace/subscribe/{template.public_id}", ACCOUNT).status_code == 201
    (row,) = partner_client(issued).get("/partner/subscriptions").json()["subscriptions"]
    assert row["partner_attribution"]["partner_api_key_id"] == issued.key_public_id
    entry = AuditEntry.objects.filter(action="subscription.created").get()
    assert (entry.actor_kind, entry.data["via_key"]) == ("USER", issued.key_public_id)
    pause = client.put(f"/user/subscriptions/{row['subscription_id']}/pause", {})
    assert pause.status_code == 200
    entry = AuditEntry.objects.filter(action="subscription.paused").get()
    assert entry.data["via_key"] == issued.key_public_id


def test_a_permission_taken_away_is_gone_from_live_tokens(
    partner: Partner,
) -> None:
    issued = make_key(partner)
    client = token_client(issued)
    assert client.get("/user/invoices").status_code == 200
    PartnerKey.objects.filter(pk=issued.key_id).update(permissions=[permissions.SUBSCRIPTIONS_READ])
    assert refused(client.get("/user/invoices")) == permissions.REVENUE_READ
    assert client.get("/user/subscriptions").status_code == 200


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_ended_leaves_no_token_behind(partner: Partner, how: str) -> None:
    issued, another = make_key(partner), make_key(partner)
    client, control = token_client(issued), token_client(another)
    now = clock.now()
    if how == "revoked":
        revoke_key(key_id=issued.key_id, actor=SYSTEM, now=now)
    else:
        PartnerKey.objects.filter(pk=issued.key_id).update(expires_at=now)
    assert client.get("/user/subscriptions").status_code == 401
    assert control.get("/user/subscriptions").status_code == 200


def test_a_partners_token_without_its_key_cannot_exist(partner: Partner) -> None:
    mine, foreign = make_customer(partner), make_key(make_partner())
    now = clock.now()
    for key_id in (None, foreign.key_id, make_key(partner, "test").key_id):
        with pytest.raises(NotFound):
            mint_user_token(
                partner_id=partner.pk,
                environment="live",
                email=mine.email,
                key_id=key_id,
                actor=SYSTEM,
                now=now,
            )
    with pytest.raises(IntegrityError, match="user_token_has_its_key"), transaction.atomic():
        UserToken.objects.create(
            customer=mine, partner_id=partner.pk, token_hash="x", created_at=now, expires_at=now
        )
