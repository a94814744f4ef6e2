"""Chart of accounts. Pure.

A code is a name of the chart. Accounts that are kept per customer (``receivable:usr_…``), partner
(``partner_payable:<slug>``), tax or gateway add that after a colon. Debit is positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ASSET: Final = "ASSET"
LIABILITY: Final = "LIABILITY"
INCOME: Final = "INCOME"
EXPENSE: Final = "EXPENSE"

DEFERRED_REVENUE: Final = "deferred_revenue"
REVENUE: Final = "revenue"
CGST: Final = "gst_output:cgst"
SGST: Final = "gst_output:sgst"
IGST: Final = "gst_output:igst"
REVSHARE_EXPENSE: Final = "revshare_expense"
#: GST of what is credited too late to reduce output tax: we bear it.
TAX_KEPT: Final = "gst_on_late_credits"
#: Bank charges for bounced cheques: our cost (0053).
BANK_CHARGES: Final = "bank_charges"
#: Money that staff recorded, until the bank's statement shows it.
MANUAL_CLEARING: Final = "gateway_clearing:manual"

# name -> (kind, whether something follows the colon)
_CHART: Final[Mapping[str, tuple[str, bool]]] = {
    "receivable": (ASSET, True),
    "gateway_clearing": (ASSET, True),
    "bank": (ASSET, False),
    "gst_input": (ASSET, False),
    "partner_receivable": (ASSET, True),
    DEFERRED_REVENUE: (LIABILITY, False),
    "gst_output": (LIABILITY, True),
    "partner_payable_pending": (LIABILITY, True),
    "partner_payable": (LIABILITY, True),
    "tds_payable": (LIABILITY, True),
    "customer_credit": (LIABILITY, True),
    "suspense": (LIABILITY, False),
    REVENUE: (INCOME, False),
    REVSHARE_EXPENSE: (EXPENSE, False),
    TAX_KEPT: (EXPENSE, False),
    "gateway_fees": (EXPENSE, False),
    BANK_CHARGES: (EXPENSE, False),
    "bad_debt": (EXPENSE, False),
    "round_off": (EXPENSE, False),
}


def names() -> tuple[str, ...]:
    """The chart's names, in order."""
    return tuple(_CHART)


class UnknownAccount(ValueError):
    """The chart has no such account."""


def account_kind(code: str) -> str:
    """ASSET, LIABILITY, INCOME or EXPENSE. Raises UnknownAccount for a code outside the chart."""
    name, colon, kept_for = code.partition(":")
    kind, divided = _CHART.get(name, ("", False))
    if not kind or bool(colon) != divided or (divided and not kept_for):
        raise UnknownAccount(code)
    return kind


def receivable(customer: str) -> str:
    """What a customer (public id) owes us."""
    return f"receivable:{customer}"


def customer_credit(customer: str) -> str:
    """What we owe a customer (public id)."""
    return f"customer_credit:{customer}"


def partner_payable_pending(slug: str) -> str:
    """What a partner has earned, while a refund may still take it back."""
    return f"partner_payable_pending:{slug}"


def partner_payable(slug: str) -> str:
    """What is to be paid to a partner."""
    return f"partner_payable:{slug}"
