"""``manage.py seed_feeds``: price feeds for simulated brokers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from brokers.services.simulated_feeds import is_simulated, seed_feeds


class Command(BaseCommand):
    """Idempotent. Only for simulated brokers; staff add real feed accounts themselves.

    It logs nobody in, because the simulator starts after the seed: the feed watch does that within
    seconds, and again every morning when the session has ended.
    """

    help = "Create the feed accounts of the broker simulator."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the missing accounts."""
        if not is_simulated():
            self.stdout.write("feeds: no simulator; add feed accounts in the console")
            return
        created = seed_feeds()
        self.stdout.write(f"feeds: {created} created")
