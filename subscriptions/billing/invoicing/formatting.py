"""Format of names, dates and amounts in documents and mails. Pure."""

from __future__ import annotations

import datetime as dt
import unicodedata
from decimal import Decimal
from typing import Final

from quantleap.core.dates import day_text
from quantleap.core.decimals import trimmed
from quantleap.core.money import grouped

# Indian scripts need joiners; any other invisible character could only mislead a reader.
_JOINERS: Final = "\u200c\u200d"


def plain(text: str) -> str:
    """One line without control or formatting characters, so that a name cannot reverse the text."""
    shown = "".join(
        character
        for character in text
        if character in _JOINERS or character.isspace() or unicodedata.category(character)[0] != "C"
    )
    return " ".join(shown.split())


def lines_of(text: str) -> list[str]:
    """The lines of an address that are not empty."""
    return [line for line in map(plain, text.splitlines()) if line]


def day(date: str) -> str:
    """``2026-11-05`` as ``5 Nov 2026``."""
    return day_text(dt.date.fromisoformat(date))


def rate(percent: Decimal) -> str:
    """Percent without trailing zeros: ``9 %``, ``2.5 %``."""
    return f"{trimmed(percent)} %"


def amount(rupees: str, sign: str = "") -> str:
    """Rupees with Indian grouping: ``1,17,882.00``."""
    return grouped(Decimal(rupees), sign)
