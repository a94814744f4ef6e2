"""New share rows on a partner's page of the console."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.test import Client

from partners.models import Partner

TODAY = dt.date(2026, 8, 4)


def post_shares(staff: Client, partner: Partner, *rows: dict[str, str]) -> Any:
    """The partner's page as it stands, with new share rows."""
    values = {
        "name": partner.name,
        "type": partner.type,
        "default_broker": partner.default_broker,
        "default_state": "",
        "allowed_ips": "",
        "oauth_redirect_urls": "",
        "revenue_shares-TOTAL_FORMS": str(len(rows)),
        "revenue_shares-INITIAL_FORMS": "0",
        "keys-TOTAL_FORMS": "0",
        "keys-INITIAL_FORMS": "0",
    }
    for number, row in enumerate(rows):
        values |= {f"revenue_shares-{number}-{name}": value for name, value in row.items()}
    return staff.post(f"/admin/partners/partner/{partner.pk}/change/", values)


def row(bps: int, **more: str) -> dict[str, str]:
    return {"partner_bps": str(bps), "effective_from": str(TODAY), **more}
