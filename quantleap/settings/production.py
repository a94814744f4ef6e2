"""Profile ``production``: everything from the environment, nothing embedded, nothing simulated."""

from __future__ import annotations

from quantleap.settings.base import *  # noqa: F403
from quantleap.settings.base import env
from quantleap.settings.databases import cache, celery_broker, of_this_process, postgres

QUANTLEAP_PROFILE = "production"
DEBUG = False
SECRET_KEY = env.str("DJANGO_SECRET_KEY")
QUANTLEAP_ENCRYPTION_KEYS = env.str("QUANTLEAP_ENCRYPTION_KEYS")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")
QUANTLEAP_PUBLIC_URL = env.str(
    "QUANTLEAP_PUBLIC_URL",
    default=f"https://{ALLOWED_HOSTS[0].lstrip('.')}" if ALLOWED_HOSTS else "",
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
DATABASES = {"default": of_this_process(env.str("DATABASE_URL"))}
QUANTLEAP_OWNER_DATABASE = postgres(env.str("OWNER_DATABASE_URL", default=env.str("DATABASE_URL")))
REDIS_URL = env.str("REDIS_URL")
CACHES = {"default": cache(REDIS_URL)}
CELERY_BROKER_URL = celery_broker(REDIS_URL)

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # plain HTTP is refused, not redirected (core middleware)
QUANTLEAP_REFUSE_PLAIN_HTTP = True
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 8 * 3600
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001", "django_ratelimit.E003", "security.W008"]
