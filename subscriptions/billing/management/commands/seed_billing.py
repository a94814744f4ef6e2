"""``manage.py seed_billing``: tax rate and supplier of a demo installation."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from django.core.management.base import BaseCommand

from subscriptions.billing.models import Supplier, TaxRate

# 18 % since GST began: https://cbic-gst.gov.in/gst-goods-services-rates.html.
GST_FROM: Final = dt.date(2017, 7, 1)
GST_PCT: Final = Decimal("18.00")
DEMO_SUPPLIER: Final = {
    "legal_name": "QuantLeap Technologies Private Limited",
    "address": "4th Floor, 12 Cathedral Road\nChennai 600086\nTamil Nadu, India",
    "gstin": "33AAACQ4821D1ZK",
    "state_code": "33",
    "state_name": "Tamil Nadu",
    "sac": "997331",
    "email": "billing@quantleap.example",
    "payment_details": "Bank transfer: account 000000123456, IFSC DEMO0000123\n"
    "UPI: billing@quantleap.example",
}


class Command(BaseCommand):
    """Idempotent; rows that staff entered stay."""

    help = "Seed the GST rate and a demo supplier."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing."""
        TaxRate.objects.get_or_create(effective_from=GST_FROM, defaults={"rate_pct": GST_PCT})
        if not Supplier.objects.exists():
            Supplier.objects.create(effective_from=GST_FROM, **DEMO_SUPPLIER)
        self.stdout.write("billing: GST 18 %, demo supplier")
