"""Removes secrets from what people and logs see. Pure.

A value is secret by its name (``api_secret``, ``Authorization``) or by its shape (our own keys and
tokens, JSON web tokens, ``Bearer …``, passwords in addresses, ``name=value`` in query strings).
Both are recognised at any depth and in running text, tracebacks included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

MASK: Final = "[hidden]"
_DEPTH: Final = 8
_SHORT: Final = 64  # characters of a cached name
_LONGEST: Final = 20_000  # characters of one text; more does not belong in a log line

# A name is secret by one of its parts, in any spelling: api_key, apiKey, X-Partner-Secret.
_PARTS: Final = (
    r"secret|passw(?:or)?d|passwd|passphrase|token|jkey|api[-_ ]?key|apikey|access[-_ ]?key|"
    r"encryption[-_ ]?keys?|private[-_ ]?key|authori[sz]ation|totp|(?:^|[-_])otp|credentials?|"
    r"cookie|session[-_ ]?id|sessionid|csrf\w*|signature|checksum|susertoken|appkey|uid_token"
)
_SECRET_NAME: Final = re.compile(rf"(?:{_PARTS})|(?:^|[-_.])pin$", re.I)
# Names that only describe a secret.
_HARMLESS_NAME: Final = re.compile(
    r"(?:_at|_until|_id|_count|_field|_expires?|_name|_version)$|^token_type$", re.I
)

# Most of what is logged is a single word or a time: an identifier, a state, a price. None of the
# shapes below is one, except our own keys and JSON web tokens, which have a prefix. Searching for
# all of them was two thirds of the cost of a log line.
_WORD: Final = re.compile(r"[\w./-]*|[\dT:.+-]+Z?")
_MARKS: Final = re.compile(r"(?:sk|ut|whsec)_|eyJ")

# Every repetition below is bounded or cannot start twice at one position: a person who can put text
# into a log line (a Host header, a path, a broker's text) must not be able to block the process
# here.
_IN_TEXT: Final = (
    # our own keys, tokens and signing secrets; JSON web tokens
    (
        re.compile(
            r"\b(?:sk_[A-Za-z0-9_]{12,}|ut_[\w-]{16,}|whsec_[A-Za-z0-9+/=]{8,}"
            r"|eyJ[\w-]{10,1000}\.[\w.-]+|v1:[\w.-]{1,40}:[\w-]{16}:[\w-]{16,})"
        ),
        MASK,
    ),
    # Authorization headers
    (re.compile(r"\b(Bearer|Basic|Token)\s{1,8}[\w.~+/=:-]{6,}", re.I), rf"\1 {MASK}"),
    # scheme://user:password@host
    (
        re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{0,200}):[^\s@'\"]{1,200}@", re.I),
        rf"\1:{MASK}@",
    ),
    # a login's one-time state and code are secret only as parameters
    (re.compile(r"([?&](?:state|code|request_token)=)[^&\s'\"]+", re.I), rf"\1{MASK}"),
)
# name=value in query strings, forms, key-value text and reprs: 'api_secret': 'x', secret=x
_NAMED: Final = re.compile(
    r"(?<![\w.-])(?P<name>(?:(?:api|access|encryption|private) )?[\w.-]{1,200})"
    r"\\?[\"']?\s{0,8}(?:=>|[=:])\s{0,8}",
    re.I,
)
# A truncated quotation extends to the end of the text.
_VALUE: Final = re.compile(
    r"\\?b?\"(?:[^\"\\]|\\.){0,4000}\"?|\\?b?'(?:[^'\\]|\\.){0,4000}'?|[^\s,;&)}\]'\"]+", re.S
)
_ADDRESS_PASSWORD: Final = re.compile(r"(://[^/@:]*):[^/@]*@")


def is_secret_name(name: str) -> bool:
    """Whether a field, header or parameter of this name contains a secret."""
    # The same few names occur in every line; those of a hostile body have any length.
    return _remembered(name) if len(name) <= _SHORT else _is_secret(name)


def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_NAME.search(name)


_remembered = lru_cache(4096)(_is_secret)


def mask_text(text: str) -> str:
    """Running text with its secrets masked."""
    if len(text) <= _LONGEST and _WORD.fullmatch(text) and not _MARKS.search(text):
        return text
    return _mask_shapes(text)


def _mask_shapes(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return _mask_named(text)


def _mask_named(text: str) -> str:
    """Mask the values of secret names, and search the values of other names."""
    parts: list[str] = []
    done = begin = 0
    while named := _NAMED.search(text, begin):
        begin = named.end()
        value = _VALUE.match(text, begin) if is_secret_name(named["name"]) else None
        if value is not None:
            parts += [text[done:begin], MASK]
            done = begin = value.end()
    return "".join([*parts, text[done:]])


def mask(value: Any, name: str = "", depth: int = 0) -> Any:
    """A copy of ``value`` with every secret replaced, in containers too.

    Names count at every level; everything below a secret name is hidden. Numbers, None and booleans
    stay unless their name is secret.
    """
    if value is None or isinstance(value, bool):
        return value
    if name and is_secret_name(name):
        return MASK if value not in ("", b"", (), [], {}) else value
    if isinstance(value, (int, float)):
        return value
    if depth >= _DEPTH:
        return mask_text(str(value))
    if isinstance(value, Mapping):
        return {_key(key): mask(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_mask_pair(item, depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return mask_text(bytes(value).decode(errors="replace"))
    return mask_text(value if isinstance(value, str) else _words(value))


def mask_address(text: str) -> str:
    """A URL with its password replaced, for people who may know the rest."""
    return _ADDRESS_PASSWORD.sub(rf"\1:{MASK}@", text)


def _key(key: Any) -> str:
    return mask_text(str(key))


def _mask_pair(item: Any, depth: int) -> Any:
    """Mask a pair of name and value, the usual form of headers and form fields."""
    if isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], (str, bytes)):
        name = item[0].decode(errors="replace") if isinstance(item[0], bytes) else item[0]
        return [name, mask(item[1], name, depth + 1)]
    return mask(item, "", depth)


def _words(value: Any) -> str:
    """The value as text; an object whose repr fails must not lose the log line."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - somebody else's __str__
        return f"<{type(value).__name__}>"
