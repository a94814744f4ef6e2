"""``manage.py seed``: sample data for a fresh local installation."""

from __future__ import annotations

import os
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError

from quantleap.core.production_checks import is_production
from quantleap.core.run_files import read_json, write_private

# Each room seeds itself; dependencies come first. Listed by name, because core imports no room.
STEPS: Final = (
    "seed_staff",
    "load_calendar",
    "load_freeze_quantities",
    "seed_instruments",
    "seed_feeds",
    "seed_templates",
    "seed_partner",
    "seed_billing",
)
WELCOME: Final = "welcome.txt"


class Command(BaseCommand):
    """Idempotent: the second run changes nothing."""

    help = "Demo partner, keys, templates, customers, calendar, instruments, first staff user."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run every room's step, then write the welcome text."""
        if is_production(settings):
            raise CommandError("seed creates demo data; in production use seed_staff and the loads")
        known = get_commands()
        for step in STEPS:
            if step in known:
                call_command(step, stdout=self.stdout)
        path = write_private(WELCOME, self._welcome())
        self.stdout.write(f"welcome text in {path.relative_to(path.parents[2])}")

    def _welcome(self) -> str:
        base = os.environ.get("QUANTLEAP_BASE_URL", "http://127.0.0.1:8000")
        lines = []
        admin, partner = read_json("admin.json"), read_json("partner.json")
        if admin:
            lines += [f"Console   {base}/admin/   {admin['username']} / {admin['password']}"]
        lines += [f"API docs  {base}/api/v1/docs"]
        if partner:
            live = partner["live"]
            lines += [
                "",
                f"Partner {partner['slug']} (live key; the test key is in var/run/partner.json):",
                "",
                f"curl -H 'Authorization: Bearer {live['key']}' \\",
                f"     -H 'X-Partner-Secret: {live['secret']}' \\",
                f"     {base}/api/v1/partner/marketplace/templates",
            ]
        return "\n".join(lines) + "\n"
