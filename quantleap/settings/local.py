"""Profile ``local``: a developer's machine, the demo. Embedded services, loopback HTTP allowed."""

from __future__ import annotations

from urllib.parse import urlsplit

from quantleap.embedded import discover
from quantleap.settings.base import *  # noqa: F403
from quantleap.settings.base import BASE_DIR, INSTALLED_APPS, env
from quantleap.settings.databases import cache, celery_broker, of_this_process, postgres
from quantleap.settings.localkeys import local_keys

QUANTLEAP_PROFILE = "local"
DEBUG = env.bool("DJANGO_DEBUG", default=False)
# Deliberate faults for the demo's controls (docs/adr/0058); only this profile and the test profile
# have them.
INSTALLED_APPS = [*INSTALLED_APPS, "quantleap.faults.apps.FaultsConfig"]
QUANTLEAP_FAULT = env.str("QUANTLEAP_FAULT", default="")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
_base_url = env.str("QUANTLEAP_BASE_URL", default="http://127.0.0.1:8000")  # of manage.py up
QUANTLEAP_PUBLIC_URL = env.str("QUANTLEAP_PUBLIC_URL", default=_base_url)
# Browsers keep cookies by host and not by port: without names of their own, `make run` and `make
# play` side by side would log out each other's staff.
_port = urlsplit(_base_url).port or 8000
if _port != 8000:
    SESSION_COOKIE_NAME = f"sessionid{_port}"
    CSRF_COOKIE_NAME = f"csrftoken{_port}"

_keys = local_keys(BASE_DIR / "var")
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default=_keys.secret_key)
QUANTLEAP_ENCRYPTION_KEYS = env.str("QUANTLEAP_ENCRYPTION_KEYS", default=_keys.encryption_keys)

_embedded = discover()
_default_database = _embedded.database_url if _embedded else "postgres://quantleap_app@/quantleap"
_default_owner = (
    _embedded.owner_database_url if _embedded else "postgres://quantleap_owner@/quantleap"
)
_default_redis = _embedded.redis_url if _embedded else "redis://127.0.0.1:6379/0"
DATABASE_URL = env.str("DATABASE_URL", default=_default_database)
OWNER_DATABASE_URL = env.str("OWNER_DATABASE_URL", default=_default_owner)
REDIS_URL = env.str("REDIS_URL", default=_default_redis)

DATABASES = {"default": of_this_process(DATABASE_URL)}
QUANTLEAP_OWNER_DATABASE = postgres(OWNER_DATABASE_URL)
CACHES = {"default": cache(REDIS_URL)}
CELERY_BROKER_URL = celery_broker(REDIS_URL)
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
