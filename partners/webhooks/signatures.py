"""Standard Webhooks: secrets, and the headers that prove that a body is ours."""

from __future__ import annotations

import base64
import datetime as dt
import secrets
from collections.abc import Sequence
from typing import Final

from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_signing_secret() -> str:
    """A new ``whsec_…`` secret (256 bits)."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    *, event_id: str, body: str, secrets_in_force: Sequence[str], sent_at: dt.datetime
) -> dict[str, str]:
    """Headers of one attempt. One signature per secret: two during a rotation.

    ``sent_at`` is real time: receivers refuse a timestamp that is more than five minutes off
    *their* clock.
    """
    signatures = [Webhook(secret).sign(event_id, sent_at, body) for secret in secrets_in_force]
    return {
        "Content-Type": "application/json",
        "User-Agent": "QuantLeap-Webhooks/1",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
