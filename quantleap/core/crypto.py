"""Field encryption: AES-256-GCM under a key ring from the environment.

A stored value is ``v1:<key id>:<nonce>:<ciphertext>`` (base64url). The associated data is
``table:pk:field``, so a ciphertext moved to another row or column does not decrypt.
``QUANTLEAP_ENCRYPTION_KEYS`` is ``id:base64key[,id:base64key…]``; the first one encrypts, all of
them decrypt, so that keys can be rotated while the site runs.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_VERSION: Final = "v1"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
#: Longest id of a key, which is stored beside what the key made.
MAX_KEY_ID: Final = 64


class DecryptionError(Exception):
    """The value was not encrypted by us for this place, or its key is missing."""


class KeyRingError(ValueError):
    """The configured key ring cannot be used."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id; ``primary`` is the id of the one that encrypts."""

    primary: str
    keys: Mapping[str, bytes]


def parse_key_ring(text: str) -> KeyRing:
    """Read ``id:base64key,…``; KeyRingError if it is empty, has duplicates or a key is not 32
    bytes."""
    keys: dict[str, bytes] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key_id, _, encoded = part.partition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise KeyRingError(f"encryption key {key_id!r} is not base64") from error
        if len(raw) != _KEY_BYTES or not key_id or key_id in keys:
            raise KeyRingError(f"encryption key {key_id!r} must be unique and 32 bytes long")
        if len(key_id) > MAX_KEY_ID:
            raise KeyRingError(f"a key's id has at most {MAX_KEY_ID} characters")
        keys[key_id] = raw
    if not keys:
        raise KeyRingError("QUANTLEAP_ENCRYPTION_KEYS is empty")
    return KeyRing(next(iter(keys)), keys)


@functools.lru_cache(maxsize=4)
def _ring(text: str) -> KeyRing:
    return parse_key_ring(text)


def key_ring() -> KeyRing:
    """The installation's key ring."""
    return _ring(settings.QUANTLEAP_ENCRYPTION_KEYS)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encrypt(plain: str, *, place: str) -> str:
    """Encrypt ``plain`` for ``place`` (``table:pk:field``). The empty string stays empty."""
    if not plain:
        return ""
    ring = key_ring()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(ring.keys[ring.primary]).encrypt(nonce, plain.encode(), place.encode())
    return ":".join((_VERSION, ring.primary, _encode(nonce), _encode(sealed)))


def decrypt(stored: str, *, place: str) -> str:
    """Plain text of a stored value; DecryptionError if it does not belong at ``place``."""
    if not stored:
        return ""
    try:
        version, key_id, nonce, sealed = stored.split(":")
        if version != _VERSION:
            raise DecryptionError("unknown ciphertext version")
        opened = AESGCM(key_ring().keys[key_id]).decrypt(
            _decode(nonce), _decode(sealed), place.encode()
        )
    except (ValueError, KeyError, InvalidTag) as error:
        raise DecryptionError("value cannot be decrypted here") from error
    return opened.decode()


def key_id_of(stored: str) -> str:
    """Id of the key with which a stored value was encrypted ('' for an empty value)."""
    return stored.split(":")[1] if stored.count(":") == 3 else ""


def keyed_hash(text: str, *, purpose: str, key_id: str) -> str:
    """HMAC-SHA256 (hex) under a key of the ring; each ``purpose`` has a key derived from it.

    KeyError if the ring has no key with this id.
    """
    return hmac.digest(_derived(key_ring().keys[key_id], purpose), text.encode(), "sha256").hex()


@functools.lru_cache(maxsize=64)
def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.digest(key, purpose.encode(), "sha256")


def fingerprint(text: str, *, purpose: str) -> str:
    """Keyed hash (HMAC-SHA256, hex) to look up secrets that are never shown again."""
    key = hmac.new(settings.SECRET_KEY.encode(), purpose.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
