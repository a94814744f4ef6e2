"""Whether a typed number is so far from the current one that the form asks twice. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

#: 9.99 for 999 is a typing error; a real change stays within this factor, up or down.
FACTOR: Final = 5


def is_beyond(before: Decimal | int, after: Decimal | int) -> bool:
    """Whether ``after`` is more than five times ``before``, or less than a fifth of it.

    A change from or to zero always is; no change never is.
    """
    if before == after:
        return False
    low, high = sorted((before, after))
    return high > low * FACTOR
