"""How far an invoice is paid and credited. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from quantleap.core.money import ZERO


@dataclass(frozen=True, slots=True)
class Standing:
    """Rupees; all but the taxable values with tax."""

    taxable: Decimal
    total: Decimal
    paid: Decimal = ZERO
    refunded: Decimal = ZERO
    credited: Decimal = ZERO
    credited_taxable: Decimal = ZERO

    @property
    def kept(self) -> Decimal:
        """Payments that were not given back; below 0 where such money bounced afterwards."""
        return self.paid - self.refunded

    @property
    def outstanding(self) -> Decimal:
        """What the customer still owes; below 0 what is to be given back."""
        return self.total - self.credited - self.kept
