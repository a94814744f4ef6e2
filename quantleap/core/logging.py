"""Structured logs without secrets."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

_SECRET_NAMES = re.compile(
    r"(secret|password|passwd|token|api_key|authorization|totp|pin$|credential|cookie)", re.I
)
_SECRET_VALUES = re.compile(
    r"\b(sk_[A-Za-z0-9_]{12,}|ut_[\w-]{16,}|whsec_[A-Za-z0-9+/=]{8,}|eyJ[\w-]{10,}\.[\w.-]+)"
)
_MASK = "[hidden]"


def hide_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """structlog processor: masks values by name and by shape."""
    for name, value in event.items():
        if isinstance(value, str):
            if _SECRET_NAMES.search(name):
                event[name] = _MASK
            else:
                event[name] = _SECRET_VALUES.sub(_MASK, value)
    return event
