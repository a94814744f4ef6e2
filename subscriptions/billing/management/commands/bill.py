"""``manage.py bill --as-of YYYY-MM-DD``: start the billing run by hand."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from quantleap.core import clock
from quantleap.core.counts import counted
from quantleap.core.errors import DomainError
from subscriptions.billing.invoicing import runs
from subscriptions.billing.selectors import coming, withheld

_WIDTH: Final = 30
_LISTED: Final = 20


class Command(BaseCommand):
    """Idempotent, also beside the daily run: nothing is billed twice."""

    help = "Invoice every period that began by a date (IST) and was not invoiced yet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=dt.date.fromisoformat, help="default: today (IST)")
        parser.add_argument(
            "--chunk",
            type=int,
            default=settings.QUANTLEAP_BILLING_CHUNK,
            help="segments per transaction; default: QUANTLEAP_BILLING_CHUNK",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, show progress, list what was withheld."""
        now = clock.now()
        as_of = options["as_of"] or clock.ist_date(now)
        due = coming().filter(next_on__lte=as_of).count()
        done = 0

        def progress(invoices: int) -> None:
            nonlocal done
            done += invoices
            self._draw(done, due)

        try:
            result = runs.run(as_of, now=now, chunk=options["chunk"], progress=progress)
        except DomainError as error:
            raise CommandError(error.message) from error
        except (OperationalError, InterfaceError) as error:
            (reason, *_) = str(error).split("\n")
            raise CommandError(
                "The database went away. What was billed stays; the rest is billed by this command "
                f"once more, or by beat within minutes. ({reason})"
            ) from error
        if done and self.stdout.isatty():
            self.stdout.write("")
        self.stdout.write(
            f"as of {as_of}: {counted(result.invoices, 'invoice')}, {result.needs_review} to review"
        )
        if result.withheld:
            self._name_withheld(as_of, clock.ist_date(now))

    def _draw(self, done: int, due: int) -> None:
        """Update the progress line. Missed periods can make ``done`` exceed ``due``."""
        if not self.stdout.isatty():
            return
        part = min(1.0, done / due) if due else 1.0
        bar = "#" * int(part * _WIDTH)
        self.stdout.write(f"\r[{bar:<{_WIDTH}}] {done} of {due}", ending="")
        self.stdout.flush()

    def _name_withheld(self, as_of: dt.date, today: dt.date) -> None:
        segments = withheld(as_of, today)
        self.stderr.write(
            f"WITHHELD: {counted(len(segments), 'due subscription')} of customers without "
            "a GST state."
        )
        for segment in segments[:_LISTED]:
            self.stderr.write(
                f"  {segment.subscription} {segment.email} due since {segment.due_since}"
            )
        if len(segments) > _LISTED:
            self.stderr.write(f"  and {len(segments) - _LISTED} more")
