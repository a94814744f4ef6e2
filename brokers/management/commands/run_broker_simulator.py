"""``manage.py run_broker_simulator``: the broker simulator as a separate process."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from brokers.simulator.server import add_arguments, run


class Command(BaseCommand):
    """Serve Kite, Noren and the control port on loopback until stopped."""

    help = "Run the broker simulator (docs/brokers/simulator.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options: ports, seed, funds, limits."""
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        run(options)
