"""Limits of an allocation's numbers, each defined once for API and database. Pure.

The API's serializers, the service and the table's constraints take them from here. The columns of
allocations and executions can store every allowed value.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

#: Digits of a lot multiplier, and how many of them are decimals.
MULTIPLIER_DIGITS: Final = 8
MULTIPLIER_PLACES: Final = 2
MIN_LOT_MULTIPLIER: Final = Decimal("0.01")
MAX_LOT_MULTIPLIER: Final = Decimal("999999.99")
#: In lots. The exchange's freeze quantity limits an order too.
MAX_LOTS_PER_ORDER: Final = 100_000
MAX_PRIORITY: Final = 1_000
#: Maximum accounts per subscription.
MAX_ALLOCATIONS: Final = 20
