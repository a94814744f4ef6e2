"""A value encrypted for one place cannot be decrypted at another."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantleap.core import crypto
from quantleap.core.crypto import DecryptionError, KeyRingError, parse_key_ring

ZEROS = "A" * 43 + "="  # 32 bytes
PLACE = "brokers_brokeraccount:7:api_secret"


def ring(*names: str) -> str:
    return ",".join(f"{name}:{base64.b64encode(os.urandom(32)).decode()}" for name in names)


@given(st.text(min_size=1))
def test_ciphertext_decrypts_and_is_never_repeated(plain: str) -> None:
    first, second = crypto.encrypt(plain, place=PLACE), crypto.encrypt(plain, place=PLACE)
    assert first != second
    assert crypto.decrypt(first, place=PLACE) == plain == crypto.decrypt(second, place=PLACE)


@pytest.mark.parametrize(
    "place",
    [
        "brokers_brokeraccount:8:api_secret",
        "brokers_brokeraccount:7:api_key",
        "partners_webhookendpoint:7:api_secret",
    ],
)
def test_a_ciphertext_that_was_moved_does_not_decrypt(place: str) -> None:
    stored = crypto.encrypt("secret", place=PLACE)
    with pytest.raises(DecryptionError):
        crypto.decrypt(stored, place=place)


@given(st.text())
def test_no_stored_text_does_anything_but_decrypt_or_be_refused(text: str) -> None:
    if text:
        with pytest.raises(DecryptionError):
            crypto.decrypt(text, place=PLACE)
    else:
        assert crypto.decrypt(text, place=PLACE) == ""


@given(st.integers(0, 200), st.integers(1, 255))
def test_one_changed_bit_is_noticed(position: int, mask: int) -> None:
    version, key_id, nonce, sealed = crypto.encrypt("secret", place=PLACE).split(":")
    raw = bytearray(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
    raw[position % len(raw)] ^= mask
    forged = ":".join((version, key_id, nonce, base64.urlsafe_b64encode(bytes(raw)).decode()))
    with pytest.raises(DecryptionError):
        crypto.decrypt(forged, place=PLACE)


def test_rotation_the_first_key_encrypts_and_every_key_decrypts(settings: Any) -> None:
    old = ring("old")
    settings.QUANTLEAP_ENCRYPTION_KEYS = old
    stored = crypto.encrypt("secret", place=PLACE)
    settings.QUANTLEAP_ENCRYPTION_KEYS = f"{ring('new')},{old}"
    assert crypto.decrypt(stored, place=PLACE) == "secret"
    assert crypto.key_id_of(stored) == "old"
    assert crypto.key_id_of(crypto.encrypt("secret", place=PLACE)) == "new"
    settings.QUANTLEAP_ENCRYPTION_KEYS = ring("new")
    with pytest.raises(DecryptionError):
        crypto.decrypt(stored, place=PLACE)


@pytest.mark.parametrize("text", ["", "a", "a:short", "a:!!!", f"a:{ZEROS},a:{ZEROS}", f":{ZEROS}"])
def test_a_key_ring_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(KeyRingError):
        parse_key_ring(text)


def test_fingerprints_depend_on_purpose_and_secret_key(settings: Any) -> None:
    first = crypto.fingerprint("x", purpose="a")
    assert first == crypto.fingerprint("x", purpose="a")
    assert first != crypto.fingerprint("x", purpose="b")
    settings.SECRET_KEY = "another"
    assert first != crypto.fingerprint("x", purpose="a")
