"""Public ids: a prefix that names the type, followed by random characters."""

from __future__ import annotations

import functools
import secrets
import string
from collections.abc import Callable
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_lowercase
_LENGTH: Final = 20
_SPACE: Final = len(_ALPHABET) ** _LENGTH


def new_public_id(prefix: str) -> str:
    """A new id such as ``sub_4k1m…`` (20 random base36 characters, 103 bits).

    Reads the system's randomness once per id, because arming creates ten thousand at a time.
    """
    number = secrets.randbelow(_SPACE)
    characters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(characters)}"


new_basket_id: Callable[[], str] = functools.partial(new_public_id, "bsk")


def new_request_id() -> str:
    """A new id for an HTTP request."""
    return new_public_id("req")


def new_event_id() -> str:
    """A new id for an outbox event, which is also the ``webhook-id`` of its deliveries."""
    return new_public_id("evt")
