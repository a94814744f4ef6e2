"""Serializer output as plain JSON, for data that is stored and sent later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quantleap.core.api.parsers import NumberJSONRenderer


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """A serializer's ``data`` as the renderer of every answer would write it, read back."""
    answer: dict[str, Any] = json.loads(NumberJSONRenderer().render(data))
    return answer
