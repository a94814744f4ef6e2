"""Billing: periods, invoices, tax and the books (money.md)."""
