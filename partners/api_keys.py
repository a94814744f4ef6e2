"""The format of partner keys and secrets (docs/partners.md#keys-and-secrets). Pure.

A key, ``pk_<partner>_<live or test>_<32>``, is a public look-up id. A secret, ``sk_<partner>_<live
or test>_<48>``, ends with six characters of base62 CRC32 over everything before them, so a mistyped
or invented one is refused without a database query or bcrypt.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final

_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_TAIL: Final = 32
_SECRET_TAIL: Final = 48
_CHECKSUM: Final = 6
_KEY: Final = re.compile(r"pk_([a-z0-9]{2,12})_(live|test)_[0-9A-Za-z]{32}", re.ASCII)
_SECRET: Final = re.compile(r"sk_([a-z0-9]{2,12})_(live|test)_([0-9A-Za-z]{48})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A well-formed key: its partner and environment."""

    text: str
    slug: str
    environment: str


@dataclass(frozen=True, slots=True)
class ParsedSecret:
    """A well-formed secret with a correct checksum. ``tail`` (48 characters) is the part that is
    hashed."""

    text: str
    slug: str
    environment: str
    tail: str

    def belongs_to(self, key: ParsedKey) -> bool:
        """Whether key and secret name the same partner and environment."""
        return (self.slug, self.environment) == (key.slug, key.environment)


def checksum(text: str) -> str:
    """CRC32 of ``text`` as six base62 digits (0-9, A-Z, a-z), most significant first."""
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def _random(length: int) -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(length))


def new_key(slug: str, environment: str) -> str:
    """A new public key."""
    return f"pk_{slug}_{environment}_{_random(_KEY_TAIL)}"


def new_secret(slug: str, environment: str) -> ParsedSecret:
    """A new secret (42 random characters, 250 bits, and their checksum)."""
    head = f"sk_{slug}_{environment}_"
    body = head + _random(_SECRET_TAIL - _CHECKSUM)
    text = body + checksum(body)
    return ParsedSecret(text, slug, environment, text.removeprefix(head))


def parse_key(text: str) -> ParsedKey | None:
    """The key in ``text``, or None if it does not have the format."""
    match = _KEY.fullmatch(text)
    return ParsedKey(text, match[1], match[2]) if match else None


def parse_secret(text: str) -> ParsedSecret | None:
    """The secret in ``text``, or None if format or checksum is wrong."""
    match = _SECRET.fullmatch(text)
    if match is None or checksum(text[:-_CHECKSUM]) != text[-_CHECKSUM:]:
        return None
    return ParsedSecret(text, match[1], match[2], match[3])
