"""``manage.py load_freeze_quantities``: underlyings and their order limits."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.services.reference import FREEZE_FILE, load_freeze_quantities, load_underlyings
from quantleap.core.errors import InvalidRequest


class Command(BaseCommand):
    """Idempotent; loads the shipped underlyings first, because limits refer to them."""

    help = "Load underlyings and freeze quantities from dated files (default: the shipped ones)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--file`` for a newer table than the shipped one."""
        parser.add_argument("--file", type=Path, default=FREEZE_FILE)

    def handle(self, *args: Any, **options: Any) -> None:
        """Load and report."""
        try:
            underlyings = load_underlyings()
            result = load_freeze_quantities(options["file"])
        except InvalidRequest as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"underlyings: {underlyings.created} new, {underlyings.kept} kept")
        self.stdout.write(f"freeze quantities: {result.created} new, {result.kept} kept")
