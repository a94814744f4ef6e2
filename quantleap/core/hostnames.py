"""Host names and addresses as people type them, normalised to the stored spelling. Pure.

Resolvers and HTTP libraries map similar characters before they connect: full-width and circled
digits become digits, U+212A becomes k, an ideographic full stop becomes a dot (UTS 46, section 4).
A check of the text as typed would therefore check another name than the one that is called. So a
label must be plain ASCII (RFC 1123) or a name that needs an A-label (RFC 5890). Text that would
only *become* ASCII is refused, and so are other spellings of an IPv4 address (decimal, octal,
hexadecimal, short).
"""

from __future__ import annotations

import re
from typing import Final

import idna

from quantleap.core.ip_addresses import Address, parse_address

_MAX_HOST: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)


class BadHost(ValueError):
    """Not a valid host name or address; the message tells the person who typed it why."""


def ascii_host(text: str) -> str:
    """The host name as A-labels in lower case, or the IP address in its canonical spelling.

    ``text`` is the part between ``//`` and the port: a name, an IPv4 address, or an IPv6 address in
    brackets. Raises BadHost with the reason.
    """
    if text.startswith("["):
        return _ipv6(text)
    if not text:
        raise BadHost("It names no host.")
    labels = [_label(label) for label in text.split(".")]
    host = ".".join(labels)
    if len(host) > _MAX_HOST:
        raise BadHost(f"The host name is longer than {_MAX_HOST} characters.")
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers read a name whose last label is a number as an IPv4 address.
        address = parse_address(host)
        if address is None:
            raise BadHost("Write an IPv4 address as four decimal numbers without leading zeros.")
        return str(address)
    return host


def host_address(host: str) -> Address | None:
    """The IP address in a result of :func:`ascii_host`; None for a name."""
    return parse_address(host.removeprefix("[").removesuffix("]"))


def _ipv6(text: str) -> str:
    address = parse_address(text[1:-1]) if text.endswith("]") else None
    if "%" in text:
        raise BadHost("An address with a zone is valid on one machine only.")
    if address is None or ":" not in text:
        raise BadHost("That is not an IPv6 address.")
    return str(address) if address.version == 4 else f"[{address}]"


def _label(label: str) -> str:
    if not label:
        raise BadHost("The host name has an empty part: two dots, or a dot at an end.")
    if label.isascii():
        return _plain_label(label)
    try:
        mapped = idna.encode(label, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise BadHost(f"{label!r} cannot be part of a host name.") from error
    if not mapped.startswith("xn--") or "." in mapped:  # a dot: UTS 46 maps other full stops to it
        raise BadHost(f"Write {label!r} with plain letters, digits and dots.")
    return mapped


def _plain_label(label: str) -> str:
    if not _LABEL.fullmatch(label):
        raise BadHost(f"{label!r} cannot be part of a host name: letters, digits and inner dashes.")
    lowered = label.lower()
    if lowered.startswith("xn--"):
        try:
            idna.decode(lowered)
        except (idna.IDNAError, UnicodeError) as error:
            raise BadHost(f"{label!r} is not a well-formed A-label.") from error
    return lowered
