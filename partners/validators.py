"""Validators of a partner's own fields; each error gives the reason."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from quantleap.core.ip_addresses import parse_network
from quantleap.core.outbound_targets import UnsafeTarget, parse_url


def validate_network(text: str) -> None:
    """Accept an address, or a CIDR network without stray host bits; ValidationError says what is
    wrong."""
    try:
        parse_network(text)
    except ValueError as error:
        if "host bits set" in str(error):
            raise ValidationError(
                "host bits are set: write the network's first address."
            ) from error
        raise ValidationError("neither an IP address nor a network such as 10.0.0.0/8.") from error


def validate_redirect_url(text: str) -> None:
    """Accept a URL to which a browser may be sent back: https, or http to its own machine (RFC
    8252).

    It must be in its stored spelling, because brokers compare it character by character.
    """
    try:
        target = parse_url(text, schemes=("https", "http"))
    except UnsafeTarget as error:
        raise ValidationError(str(error)) from error
    if target.scheme == "http" and not target.is_loopback:
        raise ValidationError("Only https, or http to 127.0.0.1, [::1] and localhost.")
    if target.url != text:
        raise ValidationError(f"Write it as {target.url}")
