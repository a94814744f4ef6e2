"""Rupees: two decimals, one rounding rule, shares that add up exactly (docs/adr/0014)."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Final

CURRENCY: Final = "INR"
RUPEE: Final = "₹"
PAISA: Final = Decimal("0.01")
ZERO: Final = Decimal("0.00")
BASIS_POINTS: Final = 10_000


def rupees(value: Decimal | int | str) -> Decimal:
    """``value`` in rupees, rounded half up to the paisa. Raises TypeError for floats."""
    if isinstance(value, float):
        raise TypeError("money is never a float")
    return Decimal(value).quantize(PAISA, ROUND_HALF_UP)


def share(amount: Decimal, basis_points: int) -> Decimal:
    """A partner's share of ``amount`` in rupees, rounded down to the paisa."""
    if not 0 <= basis_points <= BASIS_POINTS:
        raise ValueError(f"basis points out of range: {basis_points}")
    return (amount * basis_points / BASIS_POINTS).quantize(PAISA, ROUND_DOWN)


def split(amount: Decimal, basis_points: int) -> tuple[Decimal, Decimal]:
    """``(partner, platform)`` parts of ``amount``; they add up to it exactly."""
    partner = share(amount, basis_points)
    return partner, amount - partner


def tax_parts(amount: Decimal, rate_pct: Decimal, *, within_state: bool) -> tuple[Decimal, Decimal]:
    """Tax on ``amount`` (exclusive of tax) at ``rate_pct`` percent: ``(CGST or SGST, IGST)`` in
    rupees.

    Within the supplier's state there are two equal halves, elsewhere IGST. Each amount is rounded
    half up to the paisa on its own, so twice the half and the whole may differ by a paisa.
    """
    if within_state:
        return rupees(amount * rate_pct / 200), ZERO
    return ZERO, rupees(amount * rate_pct / 100)


def with_tax(amount: Decimal, rate_pct: Decimal, *, within_state: bool) -> Decimal:
    """``amount`` plus tax at ``rate_pct`` percent, in rupees: the total of an invoice.

    499.50 at 18 % is 589.42 within the supplier's state and 589.41 elsewhere.
    """
    half, whole = tax_parts(amount, rate_pct, within_state=within_state)
    return amount + half + half + whole


def json_number(amount: Decimal) -> int | float:
    """Rupees as a JSON number for a stored payload, as the API shows them.

    The only conversion out of Decimal: the shortest text of this float has exactly our two
    decimals.
    """
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def grouped(amount: Decimal, sign: str = "") -> str:
    """Two decimals, grouped as in India, with the currency's ``sign`` in front:
    ``-₹1,17,882.00``."""
    whole, _, paise = f"{abs(amount):.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    minus = "-" if amount < 0 else ""
    return f"{minus}{sign}{','.join([*groups, tail])}.{paise}"
