"""The indices whose derivatives we import, and how files that name no underlying spell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

#: Exchange symbol -> name of every index with listed derivatives. Kite's file tells an index option
#: from a stock option only by this symbol; which of them are tradable is marketplace's data.
INDEX_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "NIFTY": "NIFTY 50",
        "BANKNIFTY": "NIFTY Bank",
        "FINNIFTY": "NIFTY Financial Services",
        "MIDCPNIFTY": "NIFTY Midcap Select",
        "NIFTYNXT50": "NIFTY Next 50",
        "SENSEX": "BSE Sensex",
        "BANKEX": "BSE Bankex",
        "SENSEX50": "BSE Sensex 50",
    }
)
INDEX_UNDERLYINGS = frozenset(INDEX_NAMES)

_LEADING_LETTERS = re.compile(r"[A-Z]+")


def underlying_of_symbol(symbol: str) -> str:
    """The letters a trading symbol begins with: ``SENSEX25SEP91600PE`` -> ``SENSEX``."""
    match = _LEADING_LETTERS.match(symbol)
    return match.group() if match else ""
