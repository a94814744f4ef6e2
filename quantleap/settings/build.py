"""Profile ``build``: collects static files while an image is made. It has no keys and no servers.

No web, worker or beat process starts with it.
"""

from __future__ import annotations

import base64
import secrets

from quantleap.settings.base import *  # noqa: F403

QUANTLEAP_PROFILE = "build"
SECRET_KEY = secrets.token_urlsafe(48)  # for this command only; nothing is signed with it
QUANTLEAP_ENCRYPTION_KEYS = "build:" + base64.b64encode(secrets.token_bytes(32)).decode()
REDIS_URL = ""
