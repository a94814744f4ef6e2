"""How far an invoice is paid and credited. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from quantleap.core.money import ZERO


@dataclass(frozen=True, slots=True)
class Standing:
    """Sums of an invoice in rupees, tax included except for the taxable values."""

    taxable: Decimal
    total: Decimal
    paid: Decimal = ZERO
    refunded: Decimal = ZERO
    credited: Decimal = ZERO
    credited_taxable: Decimal = ZERO

    @property
    def kept(self) -> Decimal:
        """Payments that were not given back; below 0 if money bounced after it was given back."""
        return self.paid - self.refunded

    @property
    def outstanding(self) -> Decimal:
        """What the customer still owes; below 0 what is to be given back."""
        return self.total - self.credited - self.kept
