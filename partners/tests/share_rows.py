"""New share rows on a partner's page of the console."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.test import Client

from partners.models import Partner, RevenueShare

TODAY = dt.date(2026, 8, 4)


def post_shares(staff: Client, partner: Partner, *rows: dict[str, str], stored: int = 0) -> Any:
    """The partner's page as it stands, with new share rows below ``stored`` read-only ones."""
    shares = RevenueShare.objects.filter(partner=partner).order_by("-effective_from", "-id")[
        :stored
    ]
    values = {
        "name": partner.name,
        "type": partner.type,
        "default_broker": partner.default_broker,
        "default_state": "",
        "allowed_ips": "",
        "oauth_redirect_urls": "",
        "revenue_shares-TOTAL_FORMS": str(stored + len(rows)),
        "revenue_shares-INITIAL_FORMS": str(stored),
        "keys-TOTAL_FORMS": "0",
        "keys-INITIAL_FORMS": "0",
    }
    for number, share in enumerate(shares):
        values |= {
            f"revenue_shares-{number}-id": str(share.pk),
            f"revenue_shares-{number}-partner": str(partner.pk),
        }
    for number, row in enumerate(rows, start=stored):
        values |= {f"revenue_shares-{number}-{name}": value for name, value in row.items()}
    return staff.post(f"/admin/partners/partner/{partner.pk}/change/", values)


def row(bps: int, **more: str) -> dict[str, str]:
    return {"partner_bps": str(bps), "effective_from": str(TODAY), **more}
