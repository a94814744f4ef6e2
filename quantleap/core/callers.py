"""Where a request came from, as far as the configured proxies can be believed."""

from __future__ import annotations

from typing import Protocol

from django.conf import settings

from quantleap.core.addresses import Address, client_address


class _HasMeta(Protocol):
    @property
    def META(self) -> dict[str, str]: ...  # noqa: N802  Django's name


def caller_address(request: _HasMeta) -> Address | None:
    """The caller's address, of a Django or a DRF request; None where it cannot be known."""
    return client_address(
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
        trusted_proxies=settings.QUANTLEAP_TRUSTED_PROXIES,
        hops=settings.QUANTLEAP_TRUSTED_HOPS,
    )
