"""Sealing of broker credentials and tokens: every value is bound to its table, row and column."""

from __future__ import annotations

import re

from django.db import models

from brokers.base import Credentials, Session
from brokers.models import BrokerAccount, FeedAccount
from quantleap.core import crypto
from quantleap.core.errors import InvalidRequest

Holder = BrokerAccount | FeedAccount

#: What may go into a header or a signature: printable ASCII without blanks.
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,200}")


def place(holder: models.Model, field: str) -> str:
    """Associated data of one encrypted value (api.md section 8)."""
    return f"{holder._meta.db_table}:{holder.pk}:{field}"


def seal(holder: Holder, field: str, plain: str) -> str:
    """``plain`` encrypted for ``field`` of a saved row."""
    return crypto.encrypt(plain, place=place(holder, field))


def open_sealed(holder: Holder, field: str) -> str:
    """Plain text of an encrypted field; DecryptionError when it does not belong there."""
    return crypto.decrypt(getattr(holder, field), place=place(holder, field))


def credentials_of(holder: Holder) -> Credentials:
    """The account's credentials in the clear, for one call."""
    return Credentials(
        client_id=holder.client_id,
        api_key=open_sealed(holder, "api_key"),
        api_secret=open_sealed(holder, "api_secret"),
    )


def session_of(holder: Holder) -> Session:
    """The account's session in the clear; meaningful only while its token lives."""
    return Session(
        client_id=holder.client_id,
        api_key=open_sealed(holder, "api_key"),
        access_token=open_sealed(holder, "access_token"),
        algo_id=holder.algo_id if isinstance(holder, BrokerAccount) else "",
    )


def check_credential(name: str, value: str) -> str:
    """``value`` without surrounding blanks; InvalidRequest naming the field when unusable."""
    text = value.strip()
    if not _CREDENTIAL.fullmatch(text):
        raise InvalidRequest(
            f"{name} is not a valid credential",
            details={name: "Must be 1 to 200 printable characters without blanks."},
        )
    return text
