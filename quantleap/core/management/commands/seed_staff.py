"""``manage.py seed_staff``: the first person who can log in to the console."""

from __future__ import annotations

import os
import secrets
from typing import Any, Final

from django.core.management.base import BaseCommand

from quantleap.core import audit
from quantleap.core.models import StaffUser
from quantleap.core.runfiles import read_json, write_json

FILE: Final = "admin.json"


class Command(BaseCommand):
    """Idempotent; the password of somebody who exists is never touched.

    ``QUANTLEAP_ADMIN_USER`` and ``QUANTLEAP_ADMIN_PASSWORD`` name them; without a password one is
    made once and kept in ``var/run/admin.json`` (mode 0600).
    """

    help = "Make the first superuser (QUANTLEAP_ADMIN_USER, QUANTLEAP_ADMIN_PASSWORD)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the user unless there is one of that name."""
        username = os.environ.get("QUANTLEAP_ADMIN_USER", "admin")
        if StaffUser.objects.filter(username=username).exists():
            self.stdout.write(f"staff: {username} exists")
            return
        password = os.environ.get("QUANTLEAP_ADMIN_PASSWORD", "")
        if not password:
            kept = read_json(FILE)
            password = kept.get("password", "") if kept.get("username") == username else ""
            password = password or secrets.token_urlsafe(12)
            write_json(FILE, {"username": username, "password": password})
        StaffUser.objects.create_superuser(username, password=password)
        audit.record(
            actor=audit.SYSTEM, action="staff.created", target_type="staff", target_id=username
        )
        self.stdout.write(f"staff: {username} made")
