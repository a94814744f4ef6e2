"""``manage.py load_calendar``: years, holidays, special sessions, session hours."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketplace.services.reference import CALENDAR_FILE, load_calendar_file
from quantleap.core import clock
from quantleap.core.errors import InvalidRequest


class Command(BaseCommand):
    """Idempotent; prints what changed."""

    help = "Load the trading calendar from a dated file (default: the one that is shipped)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """``--file`` for a newer list than the shipped one."""
        parser.add_argument("--file", type=Path, default=CALENDAR_FILE)

    def handle(self, *args: Any, **options: Any) -> None:
        """Load and report."""
        try:
            result = load_calendar_file(options["file"], now=clock.now())
        except InvalidRequest as error:
            raise CommandError(error.message) from error
        self.stdout.write(
            f"calendar: {result.created} rows new, {result.kept} kept, {result.removed} removed"
        )
