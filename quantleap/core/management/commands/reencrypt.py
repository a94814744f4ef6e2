"""``manage.py reencrypt``: encrypt every sealed value with the newest key, so that old keys can
go."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from quantleap.core import crypto
from quantleap.core.reencryption import Progress, keys_in_use, reencrypt, sealed_columns

_SHOWN: Final = 20


class Command(BaseCommand):
    """May run beside everything else, and may be stopped and started again."""

    help = (
        "Write everything that is encrypted under an old key again under the first key of "
        "QUANTLEAP_ENCRYPTION_KEYS, then say which keys may be removed from it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--chunk", type=int, default=500, help="rows per transaction")
        parser.add_argument(
            "--status", action="store_true", help="change nothing; say which key is used how often"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Re-encrypt, then report; exit status 1 if something could not be read."""
        unreadable: list[str] = []
        if not options["status"]:
            for column in sealed_columns():
                done = reencrypt(column, chunk=options["chunk"], report=self._progress)
                if done.total:
                    self._say(f"{column}: {done.written} written again")
                unreadable += [f"{column} of row {pk}" for pk in done.unreadable]
        in_use = self._report()
        if unreadable:
            shown = "\n  ".join(unreadable[:_SHOWN])
            raise CommandError(
                f"{len(unreadable)} values cannot be decrypted with these keys:\n  {shown}\n"
                "Put the key that wrote them back into QUANTLEAP_ENCRYPTION_KEYS and run this "
                "again, or have their owners enter them again."
            )
        ring = crypto.key_ring()
        missing = sorted(set(in_use) - set(ring.keys))
        if missing:
            raise CommandError(
                f"QUANTLEAP_ENCRYPTION_KEYS lacks {', '.join(missing)}, which encrypted "
                "values that are still stored. Put it back."
            )
        unused = [key for key in ring.keys if key != ring.primary and not in_use.get(key)]
        for key in unused:
            self._say(
                f"Key {key!r} is unused: it may be removed from QUANTLEAP_ENCRYPTION_KEYS once "
                f"every process has been restarted with {ring.primary!r} first."
            )

    def _report(self) -> dict[str, int]:
        totals: dict[str, int] = dict.fromkeys(crypto.key_ring().keys, 0)
        for column, counted in keys_in_use().items():
            for key, number in counted.items():
                totals[key] = totals.get(key, 0) + number
                self._say(f"{column}: {number} under key {key!r}")
        for key, number in totals.items():
            self._say(f"Key {key!r} has encrypted {number} values.")
        return {key: number for key, number in totals.items() if number}

    def _progress(self, progress: Progress) -> None:
        self._say(f"{progress.column}: {progress.seen} of {progress.total}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
