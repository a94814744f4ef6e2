"""Which customer a partner means by its own id and an e-mail address. Pure.

An e-mail address changes; the partner's own id does not. So the id decides if both are given, an
address never moves to another customer, and two customers are never merged (docs/partners.md has
the table).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from quantleap.core.identifiers import BadIdentifier

EXTERNAL_ID_LENGTH: Final = 64
#: Printable ASCII without spaces at either end; case matters. Python and PostgreSQL read it alike.
EXTERNAL_ID_PATTERN: Final = r"^[!-~]([ -~]{0,62}[!-~])?$"
_EXTERNAL_ID: Final = re.compile(EXTERNAL_ID_PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)


def clean_external_id(text: str) -> str:
    """``text`` unchanged; BadIdentifier with a message if it cannot be a partner's id for a person.

    Nothing is folded or trimmed: ``A1`` and ``a1`` are two people, and ``"A1 "`` is a mistake.
    """
    if not _EXTERNAL_ID.fullmatch(text):
        raise BadIdentifier(
            f"From 1 to {EXTERNAL_ID_LENGTH} printable ASCII characters, no space at the ends."
        )
    return text


@dataclass(frozen=True, slots=True)
class Known:
    """An existing customer; the id is empty if the partner has given none."""

    key: int
    external_id: str
    email: str


class Outcome(enum.Enum):
    """The result of a partner's two names for a person."""

    THEM = "them"
    ADOPT = "them, who get the id now"
    MAKE = "nobody yet: a new customer"
    NEEDS_EMAIL = "nobody yet, and no address to make them with"
    EMAIL_OF_ANOTHER = "the id is one person's, the address another's"
    OTHER_ID = "the address is of somebody with another id"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome, with the customer's key for THEM or ADOPT."""

    outcome: Outcome
    key: int | None = None


def resolve(external_id: str, email: str, by_id: Known | None, by_email: Known | None) -> Resolved:
    """Which customer ``external_id`` and ``email`` name; either may be empty, but not both.

    ``by_id`` is the tenant's customer with that id, ``by_email`` the one with that address.
    """
    if not external_id and not email:
        raise ValueError("no customer is named")
    if by_id is not None:
        if by_email is not None and by_email.key != by_id.key:
            return Resolved(Outcome.EMAIL_OF_ANOTHER)
        return Resolved(Outcome.THEM, by_id.key)
    if by_email is None:
        return Resolved(Outcome.MAKE if email else Outcome.NEEDS_EMAIL)
    if not external_id:
        return Resolved(Outcome.THEM, by_email.key)
    if by_email.external_id:
        return Resolved(Outcome.OTHER_ID)
    return Resolved(Outcome.ADOPT, by_email.key)
