"""An amount in words with Indian units: thousand, lakh, crore. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from quantleap.core.money import rupees

_SMALL: Final = (
    *("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"),
    *("Ten", "Eleven", "Twelve", "Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen"),
    *("Eighteen", "Nineteen"),
)
_TENS: Final = ("Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety")
_GROUPS: Final = ((10_000_000, "Crore"), (100_000, "Lakh"), (1_000, "Thousand"), (100, "Hundred"))


def number_in_words(number: int) -> str:
    """``1178`` as ``One Thousand One Hundred Seventy-Eight``. Raises ValueError below 0."""
    if number < 0:
        raise ValueError(f"no words for {number}")
    if number < len(_SMALL):
        return _SMALL[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[rest]}" if rest else "")
    for size, name in _GROUPS:
        if number >= size:
            count, rest = divmod(number, size)
            return f"{number_in_words(count)} {name}" + (
                f" {number_in_words(rest)}" if rest else ""
            )
    raise AssertionError(number)  # the last group is 100


def amount_in_words(amount: Decimal) -> str:
    """Rupees: ``Rupees One Hundred and Five Paise Only`` (100.05)."""
    whole, paise = divmod(int(rupees(amount) * 100), 100)
    words = f"Rupees {number_in_words(whole)}"
    if paise:
        words += f" and {number_in_words(paise)} {'Paisa' if paise == 1 else 'Paise'}"
    return f"{words} Only"
