"""Bank references: what people type, and the key that identifies the money. Pure.

``UTR6123``, ``utr6123`` and ``UTR 6123`` identify one movement of money. Only letters and digits
count, in upper case by ASCII alone (core/identifiers.py).
"""

from __future__ import annotations

import re
import string
from typing import Final

from quantleap.core.identifiers import ascii_upper

LENGTH: Final = 80
_CHEQUE: Final = "CHEQUE"
_KEPT: Final = frozenset(string.ascii_uppercase + string.digits)
# Indian cheque numbers have six digits (RBI, CTS-2010), including leading zeros.
_CHEQUE_NUMBER: Final = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])", re.ASCII)


def reference_key(text: str) -> str:
    """Letters and digits of a reference in upper case; everything else is formatting."""
    return "".join(character for character in ascii_upper(text) if character in _KEPT)


def wrong_with(method: str, text: str) -> str:
    """Why ``text`` is no valid reference for a rail, as a message; empty if it is valid."""
    if not 0 < len(text.strip()) <= LENGTH or "\0" in text:
        return f"From 1 to {LENGTH} characters."
    if any(character.isalnum() and not character.isascii() for character in text):
        return "Letters A to Z and digits, as the bank's statement has them."
    if not reference_key(text):
        return "It has no letter and no digit."
    if method == _CHEQUE and not _CHEQUE_NUMBER.search(text):
        return "Six digits, with their zeros, and best the bank: 000123 HDFC."
    return ""
