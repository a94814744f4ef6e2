"""``manage.py import_instruments [--broker B [--file F | --url U] [--exchange NFO]]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers import instrument_files
from brokers.contract_lists import wanted_lists
from brokers.models import ContractListImport
from brokers.registry import live_kinds
from brokers.services.contract_lists import address_of, request_imports, run_import
from brokers.services.instruments import import_instruments
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import DomainError


class Command(BaseCommand):
    """Import contract lists: all of today's, or one from disk, a URL, or the broker itself."""

    help = (
        "Import contracts, lot sizes and the brokers' names for them. Without --broker: every "
        "list that this installation fetches automatically on trading days, now."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options: the broker, and at most one source."""
        parser.add_argument("--broker", choices=live_kinds())
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--file", type=Path, help="plain, .gz or .zip; needs --broker")
        place.add_argument("--url", help="http(s) address of the file; needs --broker")
        parser.add_argument(
            "--exchange", default="NFO", choices=("NFO", "BFO"), help="what to download"
        )
        parser.add_argument(
            "--force", action="store_true", help="accept a file much shorter than the last one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, print counts; a refused file is an error exit and changes nothing."""
        if options["broker"]:
            self._import_list(options)
        elif options["file"] or options["url"]:
            raise CommandError("--file and --url need --broker: which format is it?")
        else:
            self._all(force=options["force"])

    def _import_list(self, options: dict[str, Any]) -> None:
        broker: str = options["broker"]
        try:
            if options["file"]:
                opened, source = instrument_files.open_file(options["file"]), options["file"].name
            else:
                source = options["url"] or address_of(broker, options["exchange"])
                self.stdout.write(f"downloading {source}")
                opened = instrument_files.open_url(source)
            with opened as lines:
                report = import_instruments(
                    broker=broker,
                    lines=lines,
                    source=source,
                    actor=SYSTEM,
                    now=clock.now(),
                    force=options["force"],
                    progress=self.stdout.write,
                )
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write(self.style.SUCCESS(str(report)))

    def _all(self, *, force: bool) -> None:
        lists = wanted_lists()
        if not lists:
            raise CommandError(
                "No broker is enabled: name one in QUANTLEAP_LIVE_BROKERS, or use --broker "
                "with --file"
            )
        now = clock.now()
        asked = request_imports(lists=lists, actor=SYSTEM, now=now, force=force)
        if len(asked) < len(lists):
            self.stdout.write("the others are already being imported")
        failed = 0
        for row in asked:
            self.stdout.write(f"{row}:")
            if not run_import(row.pk, now=now, progress=self._say):
                self.stdout.write("  a worker has taken it")
                continue
            row.refresh_from_db()
            failed += row.state == ContractListImport.State.FAILED
            self.stdout.write(f"  {row.report or row.problem}")
        if failed:
            raise CommandError(f"{failed} of {len(asked)} lists were not imported")

    def _say(self, text: str) -> None:
        self.stdout.write(f"  {text}")
