"""Verifies a key's secret by an HMAC under a server key (docs/adr/0012).

A secret carries 250 random bits, so a fast keyed hash protects it as well as a slow one does: who
reads the table without the server's key can try nothing. bcrypt is the durable hash: it is checked
only where the HMAC was made under a server key that this process no longer has, and the HMAC is
then made anew. Neither a normal request nor a wrong secret reaches it.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import bcrypt

from partners.api_keys import ParsedKey, ParsedSecret
from partners.models import PartnerSecret
from quantleap.core import crypto
from quantleap.core.errors import Unavailable

_PURPOSE: Final = "partner-secret"
#: Longest wait for another secret's bcrypt, seconds. Many wait only after a server key was lost.
_PATIENCE: Final = 10.0
# One at a time in a process: the others keep serving.
_one_bcrypt: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A live secret as stored: ``mac`` under the server key ``mac_key``, and the bcrypt ``hash``.

    Both are of the 48-character tail. ``mac_key`` is empty for a secret that has no HMAC yet.
    """

    id: int
    mac_key: str
    mac: str
    hash: str
    last4: str


def mac_of(key: str, tail: str, *, server_key: str = "") -> tuple[str, str]:
    """The server key's id and the HMAC of a secret's tail; under the newest server key by default.

    It covers the partner's key ``key`` (``pk_…``), so that it proves nothing in another row.
    KeyError if the ring has no such server key.
    """
    server_key = server_key or crypto.key_ring().primary
    return server_key, crypto.keyed_hash(f"{key}:{tail}", purpose=_PURPOSE, key_id=server_key)


def hash_of(tail: str, rounds: int) -> str:
    """bcrypt of a secret's tail (48 characters; bcrypt reads at most 72 bytes)."""
    return bcrypt.hashpw(tail.encode(), bcrypt.gensalt(rounds)).decode()


def verify(
    key: ParsedKey, secret: ParsedSecret, stored: Sequence[StoredSecret]
) -> StoredSecret | None:
    """The stored secret that ``secret`` is, or None. ``stored``: the key's live ones, as just read.

    Makes the HMAC of a matching secret anew (one UPDATE) unless it is under the newest server key.
    Unavailable (503) if too many secrets wait for bcrypt.
    """
    ring = crypto.key_ring()
    for candidate in stored:
        if candidate.mac_key in ring.keys:
            if _matches(key, secret, candidate):
                if candidate.mac_key != ring.primary:
                    _make_anew(key, secret, candidate)
                return candidate
        # Only its owner and our staff know how a secret ends, so a wrong one stops here.
        elif hmac.compare_digest(candidate.last4, secret.text[-4:]) and _prove(
            key, secret, candidate
        ):
            return candidate
    return None


def _matches(key: ParsedKey, secret: ParsedSecret, candidate: StoredSecret) -> bool:
    _, mac = mac_of(key.text, secret.tail, server_key=candidate.mac_key)
    return hmac.compare_digest(mac, candidate.mac)


def _prove(key: ParsedKey, secret: ParsedSecret, candidate: StoredSecret) -> bool:
    """Check the durable hash, unless another request has made the HMAC meanwhile."""
    if not _one_bcrypt.acquire(timeout=_PATIENCE):
        raise Unavailable("Many secrets are being verified at once. Try again in a few seconds.")
    try:
        mac_key, mac = (
            PartnerSecret.objects.filter(pk=candidate.id).values_list("mac_key", "mac").get()
        )
        if mac_key in crypto.key_ring().keys:
            return _matches(key, secret, replace(candidate, mac_key=mac_key, mac=mac))
        if not bcrypt.checkpw(secret.tail.encode(), candidate.hash.encode()):
            return False
        _make_anew(key, secret, candidate)
        return True
    finally:
        _one_bcrypt.release()


def _make_anew(key: ParsedKey, secret: ParsedSecret, candidate: StoredSecret) -> None:
    """Store the HMAC under the newest server key, unless somebody else was faster."""
    mac_key, mac = mac_of(key.text, secret.tail)
    PartnerSecret.objects.filter(pk=candidate.id, mac_key=candidate.mac_key).update(
        mac_key=mac_key, mac=mac
    )
