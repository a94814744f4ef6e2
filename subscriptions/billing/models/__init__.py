"""Billing's tables, in the order in which they refer to each other."""

from subscriptions.billing.models.documents import (
    CreditNoteDocument,
    InvoiceDocument,
    InvoiceMail,
)
from subscriptions.billing.models.invoices import BillingRun, BillingSegment, Invoice
from subscriptions.billing.models.ledger import (
    AccountBalance,
    CustomerCredit,
    LedgerAccount,
    LedgerEntry,
    LedgerProof,
    LedgerTransaction,
)
from subscriptions.billing.models.payments import (
    MONEY_METHODS,
    Commission,
    CreditNote,
    Method,
    Payment,
    Refund,
)
from subscriptions.billing.models.reference import NumberSeries, Supplier, TaxRate
from subscriptions.billing.models.withdrawals import WithdrawalCredit

__all__ = [
    "MONEY_METHODS",
    "AccountBalance",
    "BillingRun",
    "BillingSegment",
    "Commission",
    "CreditNote",
    "CreditNoteDocument",
    "CustomerCredit",
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
    "WithdrawalCredit",
]
