"""How far the numbers of an allocation go: one constant each, from the API to the column. Pure.

The API's serializers, the service and the table's constraints all take them from here; the columns
of allocations and executions hold every one of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

#: Digits of a lot multiplier, and those of them behind the point.
MULTIPLIER_DIGITS: Final = 8
MULTIPLIER_PLACES: Final = 2
MIN_LOT_MULTIPLIER: Final = Decimal("0.01")
MAX_LOT_MULTIPLIER: Final = Decimal("999999.99")
#: In lots. What an order may hold besides is the exchange's freeze quantity.
MAX_LOTS_PER_ORDER: Final = 100_000
MAX_PRIORITY: Final = 1_000
#: Accounts of one subscription.
MAX_ALLOCATIONS: Final = 20
