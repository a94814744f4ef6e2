"""Context of the current request for logs and the audit log: its id and the staff user's
address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("quantleap_request_id", default="")
_staff_address: ContextVar[str | None] = ContextVar("quantleap_staff_address", default=None)


def current_request_id() -> str:
    """Id of the HTTP request being served, or ''."""
    return _request_id.get()


def set_request_id(value: str) -> None:
    """Remember the id of the request that starts now."""
    _request_id.set(value)


def current_staff_address() -> str | None:
    """The address from which somebody uses the console in this request; None elsewhere."""
    return _staff_address.get()


@contextmanager
def staff_at(address: str | None) -> Iterator[None]:
    """Remember the console user's address for the duration of the request."""
    token = _staff_address.set(address)
    try:
        yield
    finally:
        _staff_address.reset(token)
