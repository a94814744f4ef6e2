"""GST on a taxable value, exclusive, as the billing run's SQL must come to it. Pure.

CGST and SGST, half the rate each, where supplier and place of supply share a state; IGST at the
full rate elsewhere. Every amount is rounded half up to the paisa on its own, so two equal halves
may differ from the whole by one paisa.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from quantleap.core.money import tax_parts


@dataclass(frozen=True, slots=True)
class Tax:
    """A taxed value in rupees; ``rate_pct`` in percent."""

    taxable: Decimal
    rate_pct: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal

    @property
    def total(self) -> Decimal:
        """What the customer owes."""
        return self.taxable + self.cgst + self.sgst + self.igst


def tax(taxable: Decimal, rate_pct: Decimal, *, supplier_state: str, place_of_supply: str) -> Tax:
    """The tax on ``taxable`` rupees; states are GST codes. ValueError for a negative value."""
    if taxable < 0 or rate_pct < 0:
        raise ValueError(f"no tax on {taxable} at {rate_pct} %")
    within = supplier_state == place_of_supply
    half, whole = tax_parts(taxable, rate_pct, within_state=within)
    return Tax(taxable, rate_pct, half, half, whole)


def rate_on(rates: Iterable[tuple[dt.date, Decimal]], day: dt.date) -> Decimal:
    """The rate in percent in force on ``day`` of ``(effective_from, rate)``; LookupError: none."""
    in_force = [rate for rate in rates if rate[0] <= day]
    if not in_force:
        raise LookupError(f"no tax rate for {day}")
    return max(in_force)[1]
