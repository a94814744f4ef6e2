"""``manage.py seed_partner``: the demo partner ``zebu`` with keys and a few customers."""

from __future__ import annotations

import os
from typing import Any, Final

from django.core.management.base import BaseCommand

from partners import permissions
from partners.identity import find_or_create_customer
from partners.models import Partner, PartnerKey
from partners.services import create_partner, issue_key
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.run_files import read_json, write_json
from quantleap.core.tenancy import Environment

FILE: Final = "partner.json"
SLUG: Final = "zebu"
STATE: Final = "33"  # Tamil Nadu, where the broker is
CUSTOMERS: Final = (
    ("asha@example.com", "Asha Rao", "29"),
    ("bharat@example.com", "Bharat Shah", "24"),
    ("chitra@example.com", "Chitra Iyer", "33"),
    ("dev@example.com", "Dev Kapoor", "07"),
    ("esha@example.com", "Esha Das", "19"),
)


class Command(BaseCommand):
    """Idempotent. Keys are issued once; they are stored in ``var/run`` (0600)."""

    help = "Create the demo partner, its test and live keys, and a few customers."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing."""
        now = clock.now()
        partner = Partner.objects.filter(slug=SLUG).first()
        if partner is None:
            base = os.environ.get("QUANTLEAP_BASE_URL", "http://127.0.0.1:8000")
            partner = create_partner(
                slug=SLUG,
                name="Zebu",
                default_broker="zebu",
                default_state=STATE,
                oauth_redirect_urls=[f"{base}/app/broker/callback"],
                actor=SYSTEM,
                now=now,
            )
        stored = read_json(FILE)
        issued = 0
        for environment in Environment.values:
            known = stored.get(environment, {}).get("key", "")
            if PartnerKey.objects.filter(key=known, status=PartnerKey.Status.ACTIVE).exists():
                continue
            issued_key = issue_key(
                partner_id=partner.pk,
                environment=environment,
                permissions=permissions.ALL,
                label="demo",
                requests_per_minute=6000,
                requests_per_day=1_000_000,
                actor=SYSTEM,
                now=now,
            )
            stored[environment] = {"key": issued_key.key, "secret": issued_key.secret}
            issued += 1
        if issued:
            write_json(FILE, {"slug": SLUG, **stored})
        for email, name, state in CUSTOMERS:
            find_or_create_customer(
                partner_id=partner.pk,
                environment=Environment.LIVE,
                email=email,
                name=name,
                state=state,
                now=now,
            )
        self.stdout.write(f"partner: {SLUG}, {issued} keys issued, {len(CUSTOMERS)} customers")
