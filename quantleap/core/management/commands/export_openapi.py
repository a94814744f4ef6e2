"""``manage.py export_openapi``: write the committed documents, or compare them with ``--check``."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from quantleap.core.api.openapi import AUDIENCES, document_yaml

# The admin API's document is not published: it is served to staff only.
PUBLISHED: Final = ("partner", "user")


class Command(BaseCommand):
    """Keeps ``docs/api/openapi-<audience>.yaml`` equal to what the code serves."""

    help = "Write docs/api/openapi-{partner,user}.yaml; --check fails when they differ."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--check", action="store_true", help="write nothing, fail if stale")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or compare every published document."""
        folder: Path = settings.BASE_DIR / "docs" / "api"
        stale = []
        for name in PUBLISHED:
            path = folder / f"openapi-{name}.yaml"
            text = document_yaml(AUDIENCES[name])
            if path.exists() and path.read_text() == text:
                continue
            stale.append(path.name)
            if not options["check"]:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        if options["check"] and stale:
            raise CommandError(f"stale: {', '.join(stale)}; run manage.py export_openapi")
        words = f"written: {', '.join(stale)}" if stale else "documents are up to date"
        self.stdout.write(words)
