"""Secrets that a page of the console shows exactly once.

An action that creates a secret answers with a redirect. The page behind it shows the secret to the
person who asked for it, the first time it is opened; a reload neither creates another secret nor
shows this one again. Until then it is stored encrypted, for at most ten minutes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from partners.models import SecretShowing
from quantleap.core import crypto
from quantleap.core.crypto import DecryptionError
from quantleap.core.errors import NotFound
from quantleap.core.fields import sealed_place

LIFETIME: Final = dt.timedelta(minutes=10)
REMEMBER: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the page: its element's id, its label, and the text to copy."""

    id: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown once; ``hint`` says what to do if it is lost."""

    title: str
    hint: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Showing:
    """The result of a look: the page, or None if it was shown before (``at``) or expired."""

    page: Page | None
    at: dt.datetime | None
    back: str


def keep(
    *, staff_id: int, title: str, hint: str, items: Sequence[Item], back: str, now: dt.datetime
) -> str:
    """Store a page for one look by this person within ten minutes; returns its public id.

    ``back`` is the console URL to continue to.
    """
    content = {
        "title": title,
        "hint": hint,
        "items": [[item.id, item.label, item.value] for item in items],
    }
    with transaction.atomic():
        row = SecretShowing.objects.create(
            staff_id=staff_id, back=back, created_at=now, expires_at=now + LIFETIME
        )
        # The ciphertext is bound to its row, so the row must exist first.
        row.content = crypto.encrypt(json.dumps(content), place=sealed_place(row, "content"))
        row.save(update_fields=["content"])
    return row.public_id


def show(*, public_id: str, staff_id: int, now: dt.datetime) -> Showing:
    """The page, to its person, the first time only. NotFound for anybody else's.

    Of several simultaneous requests only one sees it: the row is locked, and erased on the first
    look.
    """
    with transaction.atomic():
        row = (
            SecretShowing.objects.select_for_update()
            .filter(public_id=public_id, staff_id=staff_id)
            .first()
        )
        if row is None:
            raise NotFound
        if row.shown_at is not None or row.expires_at <= now or not row.content:
            return Showing(None, row.shown_at, row.back)
        try:
            content = json.loads(crypto.decrypt(row.content, place=sealed_place(row, "content")))
        except DecryptionError:  # its encryption key was removed within these minutes
            return Showing(None, None, row.back)
        SecretShowing.objects.filter(pk=row.pk).update(content="", shown_at=now)
    items = tuple(Item(*item) for item in content["items"])
    return Showing(Page(content["title"], content["hint"], items), now, row.back)


def forget(*, now: dt.datetime) -> int:
    """Erase unseen secrets that have expired, and their rows a day later; returns how many."""
    SecretShowing.objects.filter(expires_at__lte=now).exclude(content="").update(content="")
    deleted, _ = SecretShowing.objects.filter(expires_at__lte=now - REMEMBER).delete()
    return deleted
