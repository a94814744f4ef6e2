"""Billing's entries in the console's sidebar."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

MONEY: Final = Section(
    "Money",
    (
        Link("Invoices", "receipt", "billing.Invoice"),
        Link("Receipts", "receipt_long", "billing.Receipt"),
        Link("Payments", "payments", "billing.Payment"),
        Link("Credit notes", "undo", "billing.CreditNote"),
        Link("Refunds", "currency_rupee", "billing.Refund"),
        Link("Customers' credit", "savings", "billing.CustomerCredit"),
        Link("Withdrawal credits", "event_busy", "billing.WithdrawalCredit"),
        Link("Commission", "percent", "billing.Commission"),
        Link("Balances", "account_balance_wallet", "billing.LedgerAccount"),
        Link("Postings", "menu_book", "billing.LedgerTransaction"),
        Link("Ledger checks", "verified", "billing.LedgerCheck"),
        Link("Billing runs", "event_repeat", "billing.BillingRun"),
        Link("Due next", "hourglass_top", "billing.BillingSegment"),
        Link("Tax rates", "percent", "billing.TaxRate"),
        Link("Supplier", "store", "billing.Supplier"),
        Link("Number series", "pin", "billing.NumberSeries"),
        Link("Invoice mails", "mail", "billing.InvoiceMail"),
    ),
)
