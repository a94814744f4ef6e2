"""Loads dated reference data from files with sources: underlyings and freeze quantities.

Every load is idempotent: rows are matched by their unique key and updated in place, so a corrected
file corrects the database. Loading removes nothing. services/calendar.py changes the calendar.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from marketplace.models import FreezeQuantity, Underlying
from quantleap.core.errors import InvalidRequest

DATA: Final = Path(__file__).resolve().parent.parent / "data"
UNDERLYINGS_FILE: Final = DATA / "underlyings.json"
FREEZE_FILE: Final = DATA / "freeze_quantities.json"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How many rows a load created, and changed or confirmed."""

    created: int = 0
    kept: int = 0

    def __add__(self, other: LoadResult) -> LoadResult:
        return LoadResult(self.created + other.created, self.kept + other.kept)


def read_object(path: Path) -> Mapping[str, Any]:
    """The file's JSON object; InvalidRequest names the file if it is not one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path.name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise InvalidRequest(f"{path.name} is not a JSON object")
    return data


def _count(created: bool) -> LoadResult:
    return LoadResult(created=1) if created else LoadResult(kept=1)


@transaction.atomic
def load_underlyings(path: Path = UNDERLYINGS_FILE) -> LoadResult:
    """Load the tradable indices. InvalidRequest for a malformed file."""
    result = LoadResult()
    try:
        for row in read_object(path)["underlyings"]:
            _, created = Underlying.objects.update_or_create(
                symbol=row["symbol"],
                defaults={"name": row["name"], "exchange": row["exchange"]},
            )
            result += _count(created)
    except (KeyError, TypeError) as error:
        raise InvalidRequest(f"{path.name} lacks {error}") from error
    return result


@transaction.atomic
def load_freeze_quantities(path: Path = FREEZE_FILE) -> LoadResult:
    """Load freeze quantities (units, from a date on). Unknown underlyings are refused by name."""
    known = dict(Underlying.objects.values_list("symbol", "id"))
    result = LoadResult()
    try:
        for row in read_object(path)["freeze_quantities"]:
            symbol = row["underlying"]
            if symbol not in known:
                raise InvalidRequest(f"{path.name}: underlying {symbol} is not loaded")
            _, created = FreezeQuantity.objects.update_or_create(
                underlying_id=known[symbol],
                effective_from=dt.date.fromisoformat(row["effective_from"]),
                defaults={"quantity": row["quantity"], "source": row["source"]},
            )
            result += _count(created)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{path.name}: {error}") from error
    return result
