"""Billing's tables, in the order in which they refer to each other."""

from subscriptions.billing.models.documents import (
    CreditNoteDocument,
    InvoiceDocument,
    InvoiceMail,
)
from subscriptions.billing.models.invoices import BillingRun, BillingSegment, Invoice
from subscriptions.billing.models.ledger import (
    AccountBalance,
    LedgerAccount,
    LedgerEntry,
    LedgerProof,
    LedgerTransaction,
)
from subscriptions.billing.models.payments import (
    Commission,
    CreditNote,
    Method,
    Payment,
    Refund,
)
from subscriptions.billing.models.reference import NumberSeries, Supplier, TaxRate

__all__ = [
    "AccountBalance",
    "BillingRun",
    "BillingSegment",
    "Commission",
    "CreditNote",
    "CreditNoteDocument",
    "Invoice",
    "InvoiceDocument",
    "InvoiceMail",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerProof",
    "LedgerTransaction",
    "Method",
    "NumberSeries",
    "Payment",
    "Refund",
    "Supplier",
    "TaxRate",
]
