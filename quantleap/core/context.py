"""Ids of the request or task under way, for logs, audit entries and error envelopes."""

from __future__ import annotations

from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("quantleap_request_id", default="")


def current_request_id() -> str:
    """Id of the HTTP request being served, or ''."""
    return _request_id.get()


def set_request_id(value: str) -> None:
    """Remember the id of the request that starts now."""
    _request_id.set(value)
