"""Identifiers, which must be ASCII before their case is folded. Pure.

Python folds more than ASCII: U+212A (Kelvin) becomes k, U+0131 becomes I, ß becomes SS, U+FB01
becomes FI. An identifier that only *folds into* somebody else's would be taken for theirs. So text
from outside is folded by :func:`ascii_upper` and :func:`ascii_lower` alone, which change A to Z and
nothing else; anything else then fails the pattern that follows. A test makes sure that nobody calls
``str.upper`` or ``str.lower`` on such text.
"""

from __future__ import annotations

import re
import string
from typing import Final

from quantleap.core.hostnames import BadHost, ascii_host, host_address

MAX_EMAIL: Final = 254
_MAX_LOCAL_PART: Final = 64
_UPPER: Final = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
# RFC 5322, dot-atom: what every mail provider issues; quoted local parts and SMTPUTF8 are refused
_LOCAL_PART: Final = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII
)
#: The same pattern for the database, with the domain as A-labels.
EMAIL_PATTERN: Final = (
    r"^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[a-z0-9-]+(\.[a-z0-9-]+)+$"
)


class BadIdentifier(ValueError):
    """The text is not a valid identifier; the message tells the person who typed it why."""


def ascii_upper(text: str) -> str:
    """``text`` with a to z in upper case and everything else unchanged."""
    return text.translate(_UPPER)


def ascii_lower(text: str) -> str:
    """``text`` with A to Z in lower case and everything else unchanged."""
    return text.translate(_LOWER)


def clean_email(text: str) -> str:
    """An e-mail address in its stored spelling: lower case, the domain as A-labels.

    Raises BadIdentifier with the reason. The part before the @ must be ASCII; a domain may be
    internationalised (RFC 5891).
    """
    address = text.strip(string.whitespace)
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise BadIdentifier("Write it as name@example.com.")
    if not local.isascii():
        raise BadIdentifier("The part before the @ may contain only plain (ASCII) characters.")
    local = ascii_lower(local)
    if not _LOCAL_PART.fullmatch(local) or len(local) > _MAX_LOCAL_PART:
        raise BadIdentifier("The part before the @ is not a valid mailbox name.")
    try:
        host = ascii_host(domain)
    except BadHost as error:
        raise BadIdentifier(f"After the @: {error}") from error
    if "." not in host or host_address(host) is not None:
        raise BadIdentifier("After the @ write a domain such as example.com.")
    if len(local) + 1 + len(host) > MAX_EMAIL:
        raise BadIdentifier(f"An e-mail address has at most {MAX_EMAIL} characters.")
    return f"{local}@{host}"
