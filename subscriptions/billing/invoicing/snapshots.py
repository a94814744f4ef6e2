"""The content of an invoice's document, stored so that it can be rendered again byte for byte.

The run writes it in SQL (run_sql.py); this module defines its shape. Amounts are texts with two
decimals, dates ``YYYY-MM-DD`` in IST. Later changes of a customer, a template or the supplier do
not affect it.
"""

from __future__ import annotations

from typing import Final, Literal, NotRequired, TypedDict

VERSION: Final = 1


class SupplierSnapshot(TypedDict):
    """The issuer. ``address`` and ``payment_details`` (how to pay) may have several lines."""

    legal_name: str
    address: str
    gstin: str
    state_code: str
    state_name: str
    email: str
    payment_details: NotRequired[str]


class CustomerSnapshot(TypedDict):
    """The recipient; ``name`` may be empty.

    ``address`` (several lines) if there is one. Rule 46 requires it and the GSTIN of a registered
    recipient; the GSTIN is absent until customers can give it. Circular 242/36/2024: for all others
    the state alone is enough.
    """

    id: str
    name: str
    email: str
    state_code: str
    state_name: str
    address: NotRequired[str]
    gstin: NotRequired[str]


class Place(TypedDict):
    """A state by code and name."""

    code: str
    name: str


class Line(TypedDict):
    """One row of the table. ``period_last`` is the last day of the period, included."""

    description: str
    sac: str
    period_start: str
    period_last: str
    quantity: int
    taxable: str


class InvoiceSnapshot(TypedDict):
    """All fields of Rule 46 of the CGST Rules, 2017; ``channel`` names the partner."""

    version: Literal[1]
    number: str
    issued_on: str
    due_on: str
    supplier: SupplierSnapshot
    customer: CustomerSnapshot
    place_of_supply: Place
    reverse_charge: bool
    subscription: str
    template: str
    lines: list[Line]
    taxable: str
    rate_pct: str
    cgst: str
    sgst: str
    igst: str
    total: str
    currency: str
    in_words: str
    channel: NotRequired[str | None]


class CreditNoteSnapshot(TypedDict):
    """All fields of Rule 53 (1A); amounts are what is credited, positive. Written by refunds.py.

    ``tax_ended_on`` makes it a financial credit: the last day on which it could have reduced tax.
    """

    version: Literal[1]
    number: str
    issued_on: str
    invoice_number: str
    invoice_issued_on: str
    reason: str
    supplier: SupplierSnapshot
    customer: CustomerSnapshot
    place_of_supply: Place
    subscription: str
    template: str
    sac: str
    rate_pct: str
    taxable: str
    cgst: str
    sgst: str
    igst: str
    total: str
    currency: str
    in_words: str
    channel: NotRequired[str | None]
    tax_ended_on: NotRequired[str]
