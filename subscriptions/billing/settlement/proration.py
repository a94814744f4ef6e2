"""How a payment is split, and what a credit takes back. Pure.

Everything depends on how far an invoice is paid and credited, never on the amounts of the single
steps. So the steps add up exactly, however many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Final

from quantleap.core.money import PAISA, ZERO, share
from subscriptions.billing.invoice_standing import Standing

#: Minimum of a credit, and of what it may leave of an invoice (rupees). The parts of a smaller
#: amount could not all be whole paise.
SMALLEST: Final = Decimal("1.00")


def base_paid(standing: Standing) -> Decimal:
    """The part of the taxable value that is paid and not given back.

    In proportion to the payments, rounded down to the paisa; once nothing is outstanding, exactly
    the part that was not credited.
    """
    left = standing.taxable - standing.credited_taxable
    if standing.outstanding <= 0:
        return left
    part = standing.taxable * max(ZERO, standing.kept) / standing.total
    return min(left, part.quantize(PAISA, ROUND_DOWN))


def commission(standing: Standing, basis_points: int) -> Decimal:
    """What a payee of ``basis_points`` has earned so far; the platform keeps the rest of the base.

    999.00 at 3000 is 299.70.
    """
    return share(base_paid(standing), basis_points)


@dataclass(frozen=True, slots=True)
class Parts:
    """An amount split into taxable value and taxes (rupees)."""

    taxable: Decimal
    cgst: Decimal
    sgst: Decimal
    igst: Decimal

    @property
    def total(self) -> Decimal:
        return self.taxable + self.cgst + self.sgst + self.igst

    def __sub__(self, other: Parts) -> Parts:
        return Parts(
            self.taxable - other.taxable,
            self.cgst - other.cgst,
            self.sgst - other.sgst,
            self.igst - other.igst,
        )


def may_credit(invoiced: Decimal, credited: Decimal, amount: Decimal) -> bool:
    """Whether ``amount`` more can be credited: all that is left, or :data:`SMALLEST` each way."""
    left = invoiced - credited
    if not 0 < amount <= left:
        return False
    return amount == left or (amount >= SMALLEST and left - amount >= SMALLEST)


def credit_parts(invoiced: Parts, credited: Parts, amount: Decimal) -> Parts:
    """``amount`` of an invoice in its parts, after ``credited`` of it was credited before.

    The taxes follow the credited total in proportion, rounded down to the paisa; the last credit
    takes what is left, so that all credits together equal the invoice. ValueError: see
    :func:`may_credit`.
    """
    if not may_credit(invoiced.total, credited.total, amount):
        raise ValueError(f"{amount} of {invoiced.total - credited.total} cannot be credited")
    left = invoiced - credited
    if amount == left.total:
        return left
    so_far = credited.total + amount
    half = _part(invoiced.cgst, so_far, invoiced.total) - credited.cgst
    whole = _part(invoiced.igst, so_far, invoiced.total) - credited.igst
    return Parts(amount - half - half - whole, half, half, whole)


def unused_parts(left: Parts, unused: int, days: int) -> Parts:
    """The part of what is ``left`` of an invoice for ``unused`` of its period's ``days``.

    Each part is rounded down to the paisa on its own, so that CGST stays equal to SGST; the rest
    has been used. Raises ValueError unless 0 <= unused <= days.
    """
    if not 0 <= unused <= days or days == 0:
        raise ValueError(f"{unused} of {days} days cannot be unused")
    taxable, half, whole = (
        _part(amount, Decimal(unused), Decimal(days))
        for amount in (left.taxable, left.cgst, left.igst)
    )
    return Parts(taxable, half, half, whole)


def recognised_part(recognised: Decimal, value: Decimal, credited: Decimal) -> Decimal:
    """How much of ``credited`` reduces revenue; the rest reduces what is still deferred.

    ``recognised`` of the ``value`` (taxable, not yet credited) is revenue already.
    """
    if not 0 < credited <= value:
        raise ValueError(f"{credited} of {value} cannot be credited")
    return _part(recognised, credited, value)


def take_back(held: Sequence[Decimal], amount: Decimal) -> tuple[Decimal, ...]:
    """Take ``amount`` out of ``held`` (rupees, oldest first), from the newest on; one part of each.

    Raises ValueError if it is more than there is.
    """
    parts, left = [], amount
    for available in reversed(held):
        part = min(available, left)
        parts.append(part)
        left -= part
    if left or amount < 0:
        raise ValueError(f"{amount} of {sum(held)} cannot be taken back")
    return tuple(reversed(parts))


def _part(amount: Decimal, of: Decimal, whole: Decimal) -> Decimal:
    return (amount * of / whole).quantize(PAISA, ROUND_DOWN)
