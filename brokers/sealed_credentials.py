"""Encryption of broker credentials and tokens: every value is bound to its table, row and
column."""

from __future__ import annotations

import re
from typing import Final

import structlog

from brokers.base import Credentials, Session
from brokers.errors import CredentialsUnreadable
from brokers.models import BrokerAccount, FeedAccount
from quantleap.core import crypto
from quantleap.core.errors import InvalidRequest
from quantleap.core.fields import sealed_place
from quantleap.core.redaction import mask_address

log = structlog.get_logger(__name__)

SEALED: Final = ("api_key", "api_secret", "access_token", "egress")

Holder = BrokerAccount | FeedAccount

#: Characters allowed in a header or a signature: printable ASCII without blanks.
_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{1,200}")


def seal(holder: Holder, field: str, plain: str) -> str:
    """``plain`` encrypted for ``field`` of a saved row."""
    return crypto.encrypt(plain, place=sealed_place(holder, field))


def open_sealed(holder: Holder, field: str) -> str:
    """Plain text of an encrypted field.

    CredentialsUnreadable (409) if its key is missing or it does not belong there. That is one row's
    problem, so code that decrypts several rows catches it for each.
    """
    try:
        return crypto.decrypt(getattr(holder, field), place=sealed_place(holder, field))
    except crypto.DecryptionError as error:
        log.error(
            "credentials_unreadable",
            table=holder._meta.db_table,
            row=holder.pk,
            field=field,
            key_id=crypto.key_id_of(getattr(holder, field)),
        )
        raise CredentialsUnreadable from error


def is_readable(holder: Holder) -> bool:
    """Whether every sealed value loaded with the row can be decrypted (columns not loaded do not
    count).

    Uses the key ring and no database: correct again as soon as the key is back.
    """
    fields = {*SEALED} - holder.get_deferred_fields()
    for field in fields:
        stored = getattr(holder, field, "")
        try:
            crypto.decrypt(stored, place=sealed_place(holder, field))
        except crypto.DecryptionError:
            return False
    return True


def egress_of(account: BrokerAccount) -> str:
    """Where the account's calls leave: a proxy's address, a source address, or empty."""
    return open_sealed(account, "egress")


def shown_egress(account: BrokerAccount) -> str:
    """The same for people, without the proxy's password."""
    try:
        return mask_address(egress_of(account)) or "the default route"
    except CredentialsUnreadable:
        return "cannot be read: set it again"


def credentials_of(holder: Holder) -> Credentials:
    """The account's decrypted credentials, for one call."""
    return Credentials(
        client_id=holder.client_id,
        api_key=open_sealed(holder, "api_key"),
        api_secret=open_sealed(holder, "api_secret"),
    )


def session_of(holder: Holder) -> Session:
    """The account's decrypted session; meaningful only while its token lives."""
    return Session(
        client_id=holder.client_id,
        api_key=open_sealed(holder, "api_key"),
        access_token=open_sealed(holder, "access_token"),
        algo_id=holder.algo_id if isinstance(holder, BrokerAccount) else "",
    )


def check_credential(name: str, value: str) -> str:
    """``value`` without surrounding blanks; InvalidRequest naming the field if it is unusable."""
    text = value.strip()
    if not _CREDENTIAL.fullmatch(text):
        raise InvalidRequest(
            f"{name} is not a valid credential",
            details={name: "Must be 1 to 200 printable characters without blanks."},
        )
    return text
