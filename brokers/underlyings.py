"""The indices whose derivatives we import, and how files that name no underlying spell them."""

from __future__ import annotations

import re

#: Exchange names of index derivatives' underlyings. Kite's file tells an index option from a stock
#: option only by this name; which of them are tradable is marketplace's data, not this list.
INDEX_UNDERLYINGS = frozenset(
    {
        "NIFTY",
        "BANKNIFTY",
        "FINNIFTY",
        "MIDCPNIFTY",
        "NIFTYNXT50",
        "SENSEX",
        "BANKEX",
        "SENSEX50",
    }
)

_LEADING_LETTERS = re.compile(r"[A-Z]+")


def underlying_of_symbol(symbol: str) -> str:
    """The letters a trading symbol begins with: ``SENSEX25SEP91600PE`` -> ``SENSEX``."""
    match = _LEADING_LETTERS.match(symbol)
    return match.group() if match else ""
