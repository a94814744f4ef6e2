"""The indices whose derivatives we import, and their product codes in brokers' lists.

A product is identified by exchange and product code, never by how a trading symbol begins: SENSEX
and SENSEX 50 options (``BSXOPT``, ``SX50OPT``) both have symbols that begin with ``SENSEX5`` in
some weeks. The import reports a code that is not in these tables and never guesses.

Sources: Kite's ``name`` column (https://kite.trade/docs/connect/v3/market-quotes/#instruments); NSE
lists the index itself as the product; BSE's codes are the ``Symbol`` of Noren's ``BFO_symbols.txt``
and of BSE's derivatives bhavcopy.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Exchange symbol -> name of every index with listed derivatives; marketplace's data says which of
#: them are tradable.
INDEX_NAMES: Final[Mapping[str, str]] = MappingProxyType(
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

#: (exchange, product code) -> our symbol of the underlying.
Products = Mapping[tuple[str, str], str]

_NSE: Final = {
    ("NFO", symbol): symbol
    for symbol in ("NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "NIFTYNXT50")
}

#: Kite names both exchanges' products by the index.
KITE_PRODUCTS: Final[Products] = MappingProxyType(
    _NSE | {("BFO", symbol): symbol for symbol in ("SENSEX", "BANKEX", "SENSEX50")}
)

#: Noren's masters keep BSE's own codes, one for options and one for futures.
NOREN_PRODUCTS: Final[Products] = MappingProxyType(
    _NSE
    | {
        ("BFO", code + kind): symbol
        for code, symbol in (("BSX", "SENSEX"), ("BKX", "BANKEX"), ("SX50", "SENSEX50"))
        for kind in ("OPT", "FUT")
    }
)
