"""Decimal numbers as text. Pure."""

from __future__ import annotations

from decimal import Decimal


def trimmed(number: Decimal) -> str:
    """``number`` without exponent or trailing zeros: 1.50 as ``1.5``, 1E+2 as ``100``.

    Each value has one spelling: equal numbers give equal texts.
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
