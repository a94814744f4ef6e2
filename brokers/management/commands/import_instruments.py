"""``manage.py import_instruments --broker zerodha|zebu [--file F | --url U] [--exchange NFO]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers import instrument_files
from brokers.endpoints import endpoints
from brokers.registry import get_adapter, live_kinds
from brokers.services.instruments import import_instruments
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import DomainError


class Command(BaseCommand):
    """Import a broker's instrument file from disk, an address, or the broker itself."""

    help = "Import contracts, lot sizes and a broker's names for them from its instrument file."

    def add_arguments(self, parser: CommandParser) -> None:
        """The broker, and at most one place to read from."""
        parser.add_argument("--broker", required=True, choices=live_kinds())
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--file", type=Path, help="plain, .gz or .zip")
        place.add_argument("--url", help="http(s) address of the file")
        parser.add_argument(
            "--exchange", default="NFO", choices=("NFO", "BFO"), help="what to download"
        )
        parser.add_argument(
            "--force", action="store_true", help="accept a file much shorter than the last one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, print counts; a refused file is an error exit and changes nothing."""
        broker: str = options["broker"]
        try:
            if options["file"]:
                opened, source = instrument_files.open_file(options["file"]), options["file"].name
            else:
                source = options["url"] or _address(broker, options["exchange"])
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


def _address(broker: str, exchange: str) -> str:
    configured = endpoints(broker)
    if exchange == "NFO":
        return configured.instruments
    return configured.api + get_adapter(broker).instruments_path(exchange)
