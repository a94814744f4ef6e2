"""Billing: periods, invoices, tax and the ledger (docs/billing.md)."""
