"""Snapshots as the run writes them, for tests of documents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from subscriptions.billing.invoicing.amount_in_words import amount_in_words
from subscriptions.billing.invoicing.snapshots import CreditNoteSnapshot, InvoiceSnapshot


def invoice_snapshot(*, intra: bool = True, lines: int = 1, **changed: Any) -> InvoiceSnapshot:
    """999.00 a line at 18 %, issued in Tamil Nadu to a customer there or in Karnataka."""
    state = ("33", "Tamil Nadu") if intra else ("29", "Karnataka")
    taxable = Decimal("999.00") * lines
    half, whole = (taxable * Decimal(share) / 100 for share in (9, 18))
    total = taxable + whole
    snapshot: InvoiceSnapshot = {
        "version": 1,
        "number": "QL26-00000123",
        "issued_on": "2026-11-05",
        "due_on": "2026-11-12",
        "supplier": {
            "legal_name": "QuantLeap Technologies Private Limited",
            "address": "4th Floor, 12 Cathedral Road\nChennai 600086\nTamil Nadu, India",
            "gstin": "33AAACQ4821D1ZK",
            "state_code": "33",
            "state_name": "Tamil Nadu",
            "email": "billing@quantleap.example",
            "payment_details": "Bank transfer: account 000000123456, IFSC DEMO0000123",
        },
        "customer": {
            "id": "usr_8Jk2mQ7pZr4tVx1c",
            "name": "Asha Raghunathan",
            "email": "asha@example.com",
            "state_code": state[0],
            "state_name": state[1],
        },
        "place_of_supply": {"code": state[0], "name": state[1]},
        "reverse_charge": False,
        "subscription": "sub_5Hn3kW9dQe2rTy6u",
        "template": "Nifty Iron Condor",
        "lines": [
            {
                "description": "Nifty Iron Condor, monthly subscription",
                "sac": "997331",
                "period_start": "2026-11-01",
                "period_last": "2026-11-30",
                "quantity": 1,
                "taxable": "999.00",
            }
            for _ in range(lines)
        ],
        "taxable": f"{taxable:.2f}",
        "rate_pct": "18.00",
        "cgst": f"{half if intra else 0:.2f}",
        "sgst": f"{half if intra else 0:.2f}",
        "igst": f"{0 if intra else whole:.2f}",
        "total": f"{total:.2f}",
        "currency": "INR",
        "in_words": amount_in_words(total),
        "channel": "Zebu Share and Wealth Managements",
    }
    snapshot.update(changed)  # type: ignore[typeddict-item]  # a test's own fields
    return snapshot


def credit_note_snapshot(*, intra: bool = True) -> CreditNoteSnapshot:
    """The whole of :func:`invoice_snapshot` credited."""
    invoice = invoice_snapshot(intra=intra)
    return {
        "version": 1,
        "number": "QC26-00000007",
        "issued_on": "2026-11-20",
        "invoice_number": invoice["number"],
        "invoice_issued_on": invoice["issued_on"],
        "reason": "The strategy was withdrawn",
        "supplier": invoice["supplier"],
        "customer": invoice["customer"],
        "place_of_supply": invoice["place_of_supply"],
        "subscription": invoice["subscription"],
        "template": invoice["template"],
        "sac": "997331",
        "taxable": invoice["taxable"],
        "rate_pct": invoice["rate_pct"],
        "cgst": invoice["cgst"],
        "sgst": invoice["sgst"],
        "igst": invoice["igst"],
        "total": invoice["total"],
        "currency": invoice["currency"],
        "in_words": invoice["in_words"],
        "channel": invoice["channel"],
    }
