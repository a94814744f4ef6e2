"""Errors that a caller can act on.

A service raises a :class:`DomainError`; the API turns it into the error envelope
(docs/api/conventions.md#errors), the console into a message, a command into an exit code. ``code``
is stable and documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """The caller's request cannot be carried out; the message says why.

    ``details`` maps a field (nested fields by dotted path) to its message; ``extra`` holds
    additional top-level members of some codes (``existing_subscription_id`` …).
    """

    status: int = 400
    code: str = "invalid_request"
    error: str = "Invalid request parameters"
    retry_after: int | None = None  # seconds, if a retry makes sense

    def __init__(
        self,
        message: str = "",
        *,
        details: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message or self.error)
        self.message = message or self.error
        self.details: dict[str, str] = dict(details or {})
        self.extra: dict[str, Any] = extra


class InvalidRequest(DomainError):
    """400: a field is wrong; ``details`` names it."""


class InvalidCredentials(DomainError):
    """401: unknown, malformed, revoked or expired credentials; the answer never says which."""

    status = 401
    code = "invalid_credentials"
    error = "Invalid API key or secret"


class PermissionDenied(DomainError):
    """403: authenticated, but not allowed."""

    status = 403
    code = "permission_denied"
    error = "Permission denied"


class AddressNotAllowed(DomainError):
    """403: the caller's address is not on the partner's list."""

    status = 403
    code = "ip_not_allowed"
    error = "Address not allowed"


class PartnerSuspended(DomainError):
    """403: the partner is suspended, and this call is not one that stays open
    (docs/partners.md)."""

    status = 403
    code = "partner_suspended"
    error = "Partner suspended"


class NotFound(DomainError):
    """404: unknown, another partner's, or the other environment's; the answer is the same."""

    status = 404
    code = "not_found"
    error = "Not found"


class InvalidTransition(DomainError):
    """409: the current state does not allow this transition."""

    status = 409
    code = "invalid_transition"
    error = "Invalid transition"


class RateLimited(DomainError):
    """429: too many requests; ``retry_after`` seconds later the same request passes."""

    status = 429
    code = "rate_limited"
    error = "Rate limit exceeded"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(DomainError):
    """503: a dependency does not answer; the caller should try again later."""

    status = 503
    code = "unavailable"
    error = "Service temporarily unavailable"
