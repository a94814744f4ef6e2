"""Who calls: partner key and secret, a customer's token, or nobody (api.md section 1)."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from quantleap.core.errors import InvalidCredentials


class CallerAuthentication(BaseAuthentication):
    """Leaves a principal on ``request.auth``."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Refuse every credential until the key store exists."""
        if request.headers.get("Authorization"):
            raise InvalidCredentials
        return None
