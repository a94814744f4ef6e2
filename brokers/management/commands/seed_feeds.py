"""``manage.py seed_feeds``: where prices come from when the brokers are simulated."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from brokers.services.simulated import is_simulated, seed_feeds


class Command(BaseCommand):
    """Idempotent. Only where the brokers are simulated; staff add real feed accounts themselves.

    Nobody is logged in here, because the simulator starts after the seed: the watch over the feeds
    does that within seconds, and again on every morning on which the session has ended.
    """

    help = "Make the feed accounts of the broker simulator."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing."""
        if not is_simulated():
            self.stdout.write("feeds: no simulator; add feed accounts in the console")
            return
        made = seed_feeds()
        self.stdout.write(f"feeds: {made} made")
