"""Public ids: a prefix that says what it is, and randomness that says nothing."""

from __future__ import annotations

import functools
import secrets
import string
from collections.abc import Callable

_ALPHABET = string.digits + string.ascii_lowercase
_LENGTH = 20


def new_public_id(prefix: str) -> str:
    """A fresh id such as ``sub_4k1m…`` (20 random base36 characters, 103 bits)."""
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


new_basket_id: Callable[[], str] = functools.partial(new_public_id, "bsk")


def new_request_id() -> str:
    """Id of one HTTP request."""
    return new_public_id("req")


def new_event_id() -> str:
    """Id of one outbox event; also the ``webhook-id`` of its deliveries."""
    return new_public_id("evt")
