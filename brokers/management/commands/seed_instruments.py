"""``manage.py seed_instruments``: the simulator's contracts, under both brokers' names."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand

from brokers.services.instruments import import_instruments
from brokers.simulator import facts
from brokers.simulator.contracts import EXCHANGES, generate
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

SOURCE: Final = "broker simulator"


class Command(BaseCommand):
    """Idempotent. Only for simulated brokers; real lists are imported from the brokers.

    The list is generated here rather than fetched, because the simulator starts after the seed; for
    the same day both generate the same contracts and tokens.
    """

    help = "Import the broker simulator's contracts of today under both brokers' names."

    def handle(self, *args: Any, **options: Any) -> None:
        """Generate and import."""
        if not settings.QUANTLEAP_SIMULATOR_URL:
            self.stdout.write("instruments: no simulator; use import_instruments")
            return
        now = clock.now()
        day = clock.ist_date(now)
        known = facts.load()
        contracts = generate(day, known.closed_days, freeze=known.freeze_on(day))
        formats = (("zerodha", contracts.kite_csv), ("zebu", contracts.noren_txt))
        for broker, written in formats:
            for exchange in EXCHANGES:
                report = import_instruments(
                    broker=broker,
                    lines=written(exchange).splitlines(keepends=True),
                    source=SOURCE,
                    actor=SYSTEM,
                    now=now,
                    force=True,
                )
                self.stdout.write(f"instruments of {broker}, {exchange}: {report}")
