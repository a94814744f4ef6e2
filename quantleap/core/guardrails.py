"""When a form asks twice: a typed number far from the current one, a value that replaces another.

Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Generic, TypeVar

#: 9.99 for 999 is a typing error; a real change stays within this factor, up or down.
FACTOR: Final = 5

V = TypeVar("V", Decimal, int)


def is_beyond(before: Decimal | int, after: Decimal | int) -> bool:
    """Whether ``after`` is more than five times ``before``, or less than a fifth of it.

    A change from or to zero always is; no change never is.
    """
    if before == after:
        return False
    low, high = sorted((before, after))
    return high > low * FACTOR


@dataclass(frozen=True, slots=True)
class DatedChange(Generic[V]):
    """A value that is to be in force from a day on, beside those that are stored.

    ``noun`` names it in sentences. ``same_day`` is the stored value from that very day, which it
    would supersede; ``before`` the one that it follows. None: there is none.
    """

    noun: str
    after: V
    effective_from: dt.date
    reason: str
    large_change: bool
    same_day: V | None
    before: V | None

    def refusals(self, today: dt.date, text: Callable[[V], str]) -> dict[str, str]:
        """Why it cannot be stored, by field; empty if it can. ``text`` writes a value."""
        refused: dict[str, str] = {}
        if self.same_day is not None and self.effective_from < today:
            refused["effective_from"] = (
                f"There is already a {self.noun} from this day on, and the day is over. "
                "Choose a later day."
            )
        elif self.same_day is not None and not self.reason.strip():
            refused["reason"] = (
                f"There is a {self.noun} of {text(self.same_day)} from this day on. "
                "Say why this one replaces it, or choose a later day."
            )
        if self.before is not None and not self.large_change and is_beyond(self.before, self.after):
            refused["large_change"] = (
                f"The new {self.noun}, {text(self.after)}, differs from the previous one, "
                f"{text(self.before)}, by more than a factor of {FACTOR}. "
                "Tick this if it is correct."
            )
        return refused
