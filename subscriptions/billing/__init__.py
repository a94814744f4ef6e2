"""Billing: periods, invoices, tax and the books (docs/billing.md)."""
