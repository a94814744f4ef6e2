"""``manage.py seed_staff``: create the first person who can log in to the console."""

from __future__ import annotations

import os
import secrets
from typing import Any, Final

from django.core.management.base import BaseCommand

from quantleap.core import audit
from quantleap.core.models import StaffUser
from quantleap.core.run_files import read_json, write_json

FILE: Final = "admin.json"


class Command(BaseCommand):
    """Idempotent; the password of an existing user is never changed.

    ``QUANTLEAP_ADMIN_USER`` and ``QUANTLEAP_ADMIN_PASSWORD`` name user and password; without a
    password, one is created once and stored in ``var/run/admin.json`` (mode 0600).
    """

    help = "Create the first superuser (QUANTLEAP_ADMIN_USER, QUANTLEAP_ADMIN_PASSWORD)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the user unless one of that name exists."""
        username = os.environ.get("QUANTLEAP_ADMIN_USER", "admin")
        if StaffUser.objects.filter(username=username).exists():
            self.stdout.write(f"staff: {username} exists")
            return
        password = os.environ.get("QUANTLEAP_ADMIN_PASSWORD", "")
        if not password:
            stored = read_json(FILE)
            password = stored.get("password", "") if stored.get("username") == username else ""
            password = password or secrets.token_urlsafe(12)
            write_json(FILE, {"username": username, "password": password})
        StaffUser.objects.create_superuser(username, password=password)
        audit.record(
            actor=audit.SYSTEM, action="staff.created", target_type="staff", target_id=username
        )
        self.stdout.write(f"staff: {username} created")
