"""Billing's tables."""

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
    LedgerCheck,
    LedgerEntry,
    LedgerTransaction,
)
from subscriptions.billing.models.payments import Commission, CreditNote, Payment, Refund
from subscriptions.billing.models.receipts import MONEY_METHODS, Method, Receipt
from subscriptions.billing.models.reference import NumberSeries, Supplier, TaxRate
from subscriptions.billing.models.reversals import PaymentReversal, Reversal
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
    "LedgerCheck",
    "LedgerEntry",
    "LedgerTransaction",
    "Method",
    "NumberSeries",
    "Payment",
    "PaymentReversal",
    "Receipt",
    "Refund",
    "Reversal",
    "Supplier",
    "TaxRate",
    "WithdrawalCredit",
]
