"""Billing in the console."""

from subscriptions.billing.admin import documents as documents
from subscriptions.billing.admin import invoices as invoices
