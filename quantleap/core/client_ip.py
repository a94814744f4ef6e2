"""The address of a request's caller, as far as the configured proxies can be trusted."""

from __future__ import annotations

from typing import Protocol

from django.conf import settings

from quantleap.core.ip_addresses import Address, client_address


class _HasMeta(Protocol):
    @property
    def META(self) -> dict[str, str]: ...  # noqa: N802  Django's name


def caller_address(request: _HasMeta) -> Address | None:
    """The address of the caller of a Django or DRF request; None if it cannot be known."""
    return client_address(
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
        trusted_proxies=settings.QUANTLEAP_TRUSTED_PROXIES,
        hops=settings.QUANTLEAP_TRUSTED_HOPS,
    )
