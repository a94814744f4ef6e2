"""Counts in sentences: "1 delivery", "412 active subscriptions". Pure."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 invoice``, ``2 invoices``, ``No invoices``; ``plural`` where an s is not enough."""
    if count == 1:
        return f"1 {noun}"
    return f"{f'{count:,}' if count else 'No'} {plural or noun + 's'}"


def are(count: int) -> str:
    """The verb that goes with a count: "is" for one, else "are"."""
    return "is" if count == 1 else "are"
