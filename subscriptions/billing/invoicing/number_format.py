"""Document numbers: gapless within a financial year, at most 16 characters (Rule 46). Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

INVOICE: Final = "invoice"
CREDIT_NOTE: Final = "credit_note"
MAX_LENGTH: Final = 16

_PREFIXES: Final[Mapping[str, str]] = {INVOICE: "QL", CREDIT_NOTE: "CN"}
_APRIL: Final = 4


def financial_year(day: dt.date) -> str:
    """The financial year of ``day``, April to March, as ``2026-27``."""
    first = day.year if day.month >= _APRIL else day.year - 1
    return f"{first:04}-{(first + 1) % 100:02}"


def prefix(series: str, fy: str) -> str:
    """The part before the eight digits: ``QL26-``."""
    return f"{_PREFIXES[series]}{fy[2:4]}-"


def document_number(series: str, fy: str, seq: int) -> str:
    """``QL26-00000123``. Raises ValueError for a number that does not fit."""
    number = f"{prefix(series, fy)}{seq:08}"
    if seq < 1 or len(number) > MAX_LENGTH:
        raise ValueError(f"no number for {series} {fy} {seq}")
    return number
