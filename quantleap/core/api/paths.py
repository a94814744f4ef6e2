"""Which paths belong to the API and are therefore answered in JSON only."""

from __future__ import annotations

from typing import Final

_ROOTS: Final = frozenset({"api", "partner", "user", "marketplace"})


def is_api_path(path: str) -> bool:
    """Whether a path is answered in JSON only."""
    return path.removeprefix("/").partition("/")[0] in _ROOTS
