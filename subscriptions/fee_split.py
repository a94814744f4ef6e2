"""Split a monthly fee into lines, one per payee, that add up to it exactly. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantleap.core.money import BASIS_POINTS, share

DISTRIBUTOR: Final = "DISTRIBUTOR"
PROVIDER: Final = "PROVIDER"
PLATFORM: Final = "PLATFORM"


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a partner (``payee``, its id) as distributor or provider, in basis points."""

    role: str
    payee: int
    basis_points: int


@dataclass(frozen=True, slots=True)
class Line:
    """One part of a fee in rupees. ``payee`` is None for the platform."""

    role: str
    payee: int | None
    basis_points: int
    amount: Decimal


def split_fee(fee: Decimal, shares: Iterable[Share]) -> tuple[Line, ...]:
    """Split ``fee`` (rupees): each share is rounded down to the paisa, the platform gets the rest.

    A share of 0 basis points has no line; the platform always has one. Raises ValueError if the
    shares exceed the whole.
    """
    payee_shares = [payee_share for payee_share in shares if payee_share.basis_points]
    points = sum(payee_share.basis_points for payee_share in payee_shares)
    if points > BASIS_POINTS:
        raise ValueError(f"shares of {points} basis points exceed the whole")
    lines = [
        Line(
            payee_share.role,
            payee_share.payee,
            payee_share.basis_points,
            share(fee, payee_share.basis_points),
        )
        for payee_share in payee_shares
    ]
    rest = fee - sum((line.amount for line in lines), Decimal(0))
    return (*lines, Line(PLATFORM, None, BASIS_POINTS - points, rest))
