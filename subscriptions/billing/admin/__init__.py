"""Console pages of billing."""

from subscriptions.billing.admin import credit as credit
from subscriptions.billing.admin import documents as documents
from subscriptions.billing.admin import invoices as invoices
from subscriptions.billing.admin import ledger as ledger
from subscriptions.billing.admin import payments as payments
from subscriptions.billing.admin import receipts as receipts
from subscriptions.billing.admin import reference as reference
