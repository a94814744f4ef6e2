"""``manage.py load_calendar``: years, holidays, special sessions, session hours."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from marketplace.calendar_changes import Change, Comparison
from marketplace.services.calendar import CALENDAR_FILE, HeldYear, load_calendar_file
from quantleap.core import clock
from quantleap.core.dates import moment_text
from quantleap.core.errors import InvalidRequest

_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-"}


class Command(BaseCommand):
    """Idempotent; prints every row that it adds, changes or removes, year by year."""

    help = "Load the trading calendar from a dated file (default: the shipped one)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options: file, dry run, replacement of edited years."""
        parser.add_argument("--file", type=Path, default=CALENDAR_FILE)
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would change, change nothing"
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="replace years that were edited in the console",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Load and report."""
        path: Path = options["file"]
        dry_run: bool = options["dry_run"]
        self.stdout.write(f"calendar: reading {path.name}")
        try:
            report = load_calendar_file(
                path, now=clock.now(), replace=options["replace"], dry_run=dry_run
            )
        except InvalidRequest as error:
            raise CommandError(error.message) from error
        for year in _years(report.comparison):
            self._year(year, [c for c in report.comparison.changes if c.row.day.year == year])
        for year, held in sorted(report.held.items()):
            self._report_held(year, held)
        self.stdout.write(
            f"calendar{' (dry run, nothing written)' if dry_run else ''}: "
            f"{_counts(report.comparison)}, {report.comparison.unchanged} unchanged"
        )

    def _year(self, year: int, changes: list[Change]) -> None:
        self.stdout.write(f"{year}: {_counts(Comparison(tuple(changes), 0))}")
        for change in changes:
            self._change(change)

    def _change(self, change: Change) -> None:
        was = f" (was: {change.was})" if change.was else ""
        row = change.row
        self.stdout.write(
            f"  {_SIGNS[change.verb]} {row.table.value}: {row}{was}; source: {row.source}"
        )

    def _report_held(self, year: int, held: HeldYear) -> None:
        self.stdout.write(
            f"{year}: left as it is. {held.edited_by or 'Somebody'} edited it in the console on "
            f"{moment_text(held.edited_at)}; with --replace the file would change:"
        )
        for change in held.comparison.changes:
            self._change(change)


def _years(comparison: Comparison) -> list[int]:
    return sorted({change.row.day.year for change in comparison.changes})


def _counts(comparison: Comparison) -> str:
    return ", ".join(f"{comparison.count(verb)} {verb}" for verb in _SIGNS)
