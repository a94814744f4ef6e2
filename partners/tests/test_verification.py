"""Secrets, their HMAC under a server key, and bcrypt where that key is gone (docs/adr/0012)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partners.api_keys import ParsedKey, ParsedSecret, new_secret, parse_key, parse_secret
from partners.models import PartnerSecret
from partners.services import IssuedKey
from partners.tests.factories import make_key, make_partner
from partners.verification import StoredSecret, hash_of, mac_of, verify
from quantleap.core.tests.parallel import at_once

KEYS: Final = {name: base64.b64encode(name.encode() * 16).decode() for name in ("k1", "k2", "k3")}


def ring(*names: str) -> str:
    """A key ring; the first key is the newest."""
    return ",".join(f"{name}:{KEYS[name]}" for name in names)


@pytest.fixture
def use_ring(settings: Any) -> Callable[..., None]:
    """Give this process other server keys."""

    def use(*names: str) -> None:
        settings.QUANTLEAP_ENCRYPTION_KEYS = ring(*names)

    use("k1")
    return use


@pytest.fixture
def bcrypts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The result of every bcrypt check."""
    results: list[bool] = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        results.append(real(password, hashed))
        return results[-1]

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return results


def parsed(issued: IssuedKey) -> tuple[ParsedKey, ParsedSecret]:
    key, secret = parse_key(issued.key), parse_secret(issued.secret)
    assert key is not None
    assert secret is not None
    return key, secret


def stored(issued: IssuedKey) -> list[StoredSecret]:
    """The key's secrets, as authentication reads them."""
    rows = PartnerSecret.objects.filter(key_id=issued.key_id).order_by("-version")
    return [StoredSecret(s.pk, s.mac_key, s.mac, s.hash, s.last4) for s in rows]


def is_good(issued: IssuedKey) -> bool:
    return verify(*parsed(issued), stored(issued)) is not None


def is_refused(issued: IssuedKey, other: ParsedSecret) -> bool:
    key, _ = parsed(issued)
    return verify(key, other, stored(issued)) is None


def with_same_end(issued: IssuedKey) -> ParsedSecret:
    """Another well-formed secret that ends like this key's; somebody has seen the console."""
    key, secret = parsed(issued)
    forged = new_secret(key.slug, key.environment).text[:-4] + secret.text[-4:]
    return ParsedSecret(forged, key.slug, key.environment, forged[-48:])


@pytest.mark.django_db
def test_a_new_secret_is_stored_under_the_newest_key(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    use_ring("k2", "k1")
    issued = make_key(make_partner())
    assert [row.mac_key for row in stored(issued)] == ["k2"]
    assert is_good(issued)
    assert is_refused(issued, new_secret("other", "live"))
    assert bcrypts == []


@pytest.mark.django_db
def test_a_rotated_server_key_moves_the_secret_without_bcrypt(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    issued = make_key(make_partner())
    use_ring("k2", "k1")
    assert is_refused(issued, with_same_end(issued))
    assert [row.mac_key for row in stored(issued)] == ["k1"]  # a wrong secret moves nothing
    assert is_good(issued)
    assert [row.mac_key for row in stored(issued)] == ["k2"]
    use_ring("k2")
    assert is_good(issued)
    assert bcrypts == []


@pytest.mark.django_db
def test_a_lost_server_key_costs_one_bcrypt_for_each_secret(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    """The durable hash proves the secret once; from then on the HMAC does."""
    issued = make_key(make_partner())
    use_ring("k3")
    assert is_refused(issued, new_secret("other", "live"))
    assert bcrypts == []  # a wrong secret does not even reach bcrypt
    assert is_good(issued)
    assert bcrypts == [True]
    assert [row.mac_key for row in stored(issued)] == ["k3"]
    assert is_good(issued)
    assert bcrypts == [True]


@pytest.mark.django_db
def test_the_durable_hash_refuses_a_forged_ending(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    issued = make_key(make_partner())
    use_ring("k3")
    assert is_refused(issued, with_same_end(issued))
    assert bcrypts == [False]
    assert [row.mac_key for row in stored(issued)] == ["k1"]


@pytest.mark.django_db
def test_a_secret_from_before_the_hmac_gets_one(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    issued = make_key(make_partner())
    PartnerSecret.objects.update(mac="", mac_key="")
    assert is_good(issued)
    assert is_good(issued)
    assert bcrypts == [True]


@pytest.mark.django_db
def test_an_hmac_proves_nothing_in_another_row(use_ring: Callable[..., None]) -> None:
    """Who can write the table but has no server key cannot copy a secret of their own."""
    partner = make_partner()
    mine, theirs = make_key(partner), make_key(partner)
    copied = PartnerSecret.objects.get(key_id=mine.key_id)
    PartnerSecret.objects.filter(key_id=theirs.key_id).update(
        mac=copied.mac, mac_key=copied.mac_key
    )
    assert is_refused(theirs, parsed(mine)[1])


@pytest.mark.django_db(transaction=True)
def test_twenty_requests_after_a_lost_key_cost_one_bcrypt(
    use_ring: Callable[..., None], bcrypts: list[bool]
) -> None:
    """All wait for the first one, and find what it stored."""
    issued = make_key(make_partner())
    use_ring("k3")
    read_before = stored(issued)
    key, secret = parsed(issued)

    def work(_: int) -> bool:
        return verify(key, secret, read_before) is not None

    assert at_once(20, work) == [True] * 20
    assert bcrypts == [True]


@given(tail=st.text("ab01", min_size=48, max_size=48), other=st.text("ab01", max_size=60))
def test_the_hmac_depends_on_key_and_tail(tail: str, other: str) -> None:
    key, mac = mac_of("pk_a", tail)
    assert (mac_of("pk_a", other) == (key, mac)) is (other == tail)
    assert mac_of("pk_b", tail) != (key, mac)


def test_the_durable_hash_is_bcrypt_of_the_tail() -> None:
    hashed = hash_of("a" * 48, 4)
    assert hashed.startswith("$2b$04$")
    assert bcrypt.checkpw(b"a" * 48, hashed.encode())
