"""What the cache may hold: JSON and nothing else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from django.utils.functional import Promise


class JsonSerializer:
    """For Django's Redis cache. Whoever can write to the cache must not be able to run code here,
    which reading a pickle would allow.

    Plain numbers stay numbers to Redis, so that it can count. A dataclass comes back as a dict (the
    console's search keeps its results so; templates read both alike). Anything else that is no
    JSON raises TypeError where it is written. What cannot be read is None: as if it were not there.
    """

    def dumps(self, value: Any) -> int | bytes:
        """As Redis keeps it."""
        if type(value) is int:
            return value
        return json.dumps(value, default=_plain).encode()

    def loads(self, data: bytes | str) -> Any:
        """As it was, or None."""
        try:
            return json.loads(data)
        except ValueError:
            return None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Promise):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON: it cannot be cached")
