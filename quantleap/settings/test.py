"""Profile ``test``: the local one with fast password hashing and quiet logs."""

from __future__ import annotations

from quantleap.settings.local import *  # noqa: F403
from quantleap.settings.local import LOGGING, env

QUANTLEAP_PROFILE = "test"
ALLOWED_HOSTS = ["*"]
QUANTLEAP_BCRYPT_ROUNDS = 4
QUANTLEAP_ANONYMOUS_PER_MINUTE = 100_000  # all tests have one address
QUANTLEAP_LIMITS_PATIENCE = 30.0  # a busy machine's Valkey is late, not away
WHITENOISE_AUTOREFRESH = True  # otherwise every new test client scans all static files
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING["root"]["level"] = env.str("QUANTLEAP_TEST_LOG_LEVEL", default="CRITICAL")
