"""Entries and invoices that the books must refuse."""

from __future__ import annotations

from subscriptions.billing.models import Invoice

# A copy of the newest invoice with other values in some columns.
COPY = """
INSERT INTO billing_invoice ({columns})
SELECT {values} FROM billing_invoice ORDER BY id DESC LIMIT 1
"""


def copy_invoice(**changed: str) -> str:
    columns: dict[str, str] = {
        str(field.column): str(field.column)
        for field in Invoice._meta.local_concrete_fields
        if field.column not in ("id", "deferred")
    }
    columns["public_id"] = "'inv_' || gen_random_uuid()"
    columns |= changed
    return COPY.format(columns=", ".join(columns), values=", ".join(columns.values()))


ENTRIES = "INSERT INTO billing_ledgerentry (transaction_id, account_id, amount) VALUES "
NEXT = {"seq": "seq + 1", "number": "'QL25-00000004'"}
