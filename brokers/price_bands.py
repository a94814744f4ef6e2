"""The price band named in a refusal: between which prices the broker would accept the order.

Texts that name one, or one side of one:

- Kite, in a documented sample (https://kite.trade/docs/connect/v3/gtt/): "Your order price is lower
  than the current lower circuit limit of 70.65. Place an order within the daily range."
- Noren, in the sample of its order book's ``rejreason``: "RED:RULE:{Check circuit limit including
  square off order}Current:INR 2,400.00 LowerCircuit:INR 1,590.05 UpperCircuit:INR 1,943.35:…"
- the older order system behind several brokers ("RMS:"): "… Circuit breach, Order Price :1860.40,
  Low Price Range:1682.20 High Price Range:1859.20"

Other texts name none ("17070 : The Price is out of the current LPP range", "Price exceeds circuit
limits for the instrument",
https://tradingqna.com/t/how-do-you-reliably-get-into-order-book-and-exit/193460); then there is
nothing to guess.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from brokers import wire_values
from brokers.base import PriceBand

#: Rupees in brokers' texts: "70.65", "INR 1,590.05", "Rs. 12". Bounded.
_RUPEES: Final = (
    r"(?:inr|rs\.?|₹)?\s{0,3}"
    r"((?:\d{1,3}(?:,\d{2,3}){1,5}|\d{1,12})(?:\.\d{1,4})?)(?!\d|[.,]\d)"
)
_LIMIT: Final = (
    r"[ _]?(?:circuit|price)[ _]?(?:range|limit|price|band)?\s{0,3}(?::|of|is|=)?\s{0,3}"
)
_LOW: Final = re.compile(r"\blow(?:er)?" + _LIMIT + _RUPEES, re.IGNORECASE)
_HIGH: Final = re.compile(r"\b(?:high|upper)" + _LIMIT + _RUPEES, re.IGNORECASE)
_BETWEEN: Final = re.compile(
    r"\b(?:within|between|range(?: of)?|permitted)\s{0,3}:?\s{0,3}"
    + _RUPEES
    + r"\s{0,3}(?:and|to|-|–)\s{0,3}"
    + _RUPEES,
    re.IGNORECASE,
)


def band_of(message: str) -> PriceBand | None:
    """The permitted prices named in ``message`` (a refusal for the price), or None.

    Contradictory figures, or one that is no price, count as no band, because the engine prices by
    it.
    """
    between = _BETWEEN.search(message)
    if between is not None:
        return _band(between.group(1), between.group(2))
    low, high = _LOW.search(message), _HIGH.search(message)
    if low is None and high is None:
        return None
    return _band(low.group(1) if low else None, high.group(1) if high else None)


def limits(low: object, high: object) -> PriceBand | None:
    """The circuit limits of a quote (0 or nothing: not given), None if they are invalid."""
    lowest, highest = wire_values.read_price(low), wire_values.read_price(high)
    if (lowest is None and highest is None) or (lowest and highest and lowest > highest):
        return None
    return PriceBand(lowest, highest)


def _band(low_text: str | None, high_text: str | None) -> PriceBand | None:
    low, high = _price(low_text), _price(high_text)
    if (low_text is not None and low is None) or (high_text is not None and not high):
        return None
    if low is not None and high is not None and low > high:
        return None
    return PriceBand(low, high)


def _price(text: str | None) -> Decimal | None:
    return None if text is None else wire_values.read_decimal(text.replace(",", ""))
