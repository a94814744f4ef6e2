"""Invoicing: segments, the billing run, invoice numbers and documents."""
