"""Billing's tables, in the order in which they refer to each other."""

from subscriptions.billing.models.invoices import BillingRun, BillingSegment, Invoice
from subscriptions.billing.models.ledger import (
    AccountBalance,
    LedgerAccount,
    LedgerEntry,
    LedgerProof,
    LedgerTransaction,
)
from subscriptions.billing.models.reference import NumberSeries, Supplier, TaxRate

__all__ = [
    "AccountBalance",
    "BillingRun",
    "BillingSegment",
    "Invoice",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerProof",
    "LedgerTransaction",
    "NumberSeries",
    "Supplier",
    "TaxRate",
]
