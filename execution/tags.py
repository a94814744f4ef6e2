"""The tag that links an order in a broker's book to one send of one intent.

``Q`` + 12 base36 characters of the intent + 1 attempt character: 14 characters, which fits every
broker (Kite takes 20: https://kite.trade/forum/discussion/comment/52970/).
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from typing import Final

ALPHABET: Final = string.digits + string.ascii_uppercase
CODE_LENGTH: Final = 12
MAX_SENDS: Final = 3
_PATTERN: Final = re.compile(r"Q([0-9A-Z]{12})([1-3])")


@dataclass(frozen=True, slots=True)
class ParsedTag:
    """Intent code and number of the send (1 to 3)."""

    code: str
    attempt: int


def new_code() -> str:
    """A fresh intent code: 62 random bits, so codes of two installations do not collide."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


def make_tag(code: str, attempt: int) -> str:
    """The tag of the ``attempt``-th send (1 to 3) of an intent. Raises ValueError."""
    if not 1 <= attempt <= MAX_SENDS:
        raise ValueError(f"attempt {attempt} is outside 1..{MAX_SENDS}")
    tag = f"Q{code}{attempt}"
    if not _PATTERN.fullmatch(tag):
        raise ValueError("intent code is not 12 base36 characters")
    return tag


def parse_tag(tag: str) -> ParsedTag | None:
    """Code and attempt of a tag of ours; None for any other tag."""
    match = _PATTERN.fullmatch(tag)
    return ParsedTag(match.group(1), int(match.group(2))) if match else None
