"""Settings that every profile shares. Values come from the environment through typed readers.

A missing or malformed variable stops the start with its name; ``NAME_FILE`` may hold the path of a
file with the value instead (secrets of a container).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery.schedules import crontab
from csp import constants as csp

from quantleap.core.logging import configure as configure_logging
from quantleap.core.logging import formatter as json_formatter
from quantleap.core.logging import heartbeats
from quantleap.settings import console
from quantleap.settings.reader import Environment

env = Environment()
BASE_DIR = Path(__file__).resolve().parent.parent.parent

QUANTLEAP_PROFILE = "base"
DEBUG = False
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "quantleap.core.apps.CoreConfig",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_structlog",
    "anymail",
    "csp",
    "marketplace.apps.MarketplaceConfig",
    "partners.apps.PartnersConfig",
    "brokers.apps.BrokersConfig",
    "subscriptions.apps.SubscriptionsConfig",
    "subscriptions.billing.apps.BillingConfig",
    "execution.apps.ExecutionConfig",
]

MIDDLEWARE = [
    "quantleap.core.api.middleware.RequestIdMiddleware",
    "quantleap.core.api.middleware.RefusePlainHttpMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "quantleap.core.api.middleware.NoStoreMiddleware",
    "csp.middleware.CSPMiddleware",
    "quantleap.core.api.middleware.RateLimitMiddleware",
    "quantleap.core.api.middleware.ApiErrorMiddleware",
    "quantleap.core.api.middleware.ErrorPageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "quantleap.core.api.middleware.RequestLogMiddleware",
    "quantleap.core.console.ConsoleMiddleware",
]

ROOT_URLCONF = "quantleap.urls"
WSGI_APPLICATION = "quantleap.wsgi.application"
APPEND_SLASH = False
# RequestIdMiddleware decides on the id first; the request log uses the same one.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
AUTH_USER_MODEL = "core.StaffUser"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-in"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["quantleap.formats"]
# docs/adr/0028: no scripts but our own files; eval for the console's Alpine, style attributes of
# its templates. Pages that need less remove these permissions.
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [csp.NONE],
        "script-src": [csp.SELF, csp.NONCE, csp.UNSAFE_EVAL],
        "style-src": [csp.SELF, csp.UNSAFE_INLINE],
        "img-src": [csp.SELF, "data:"],
        "font-src": [csp.SELF],
        "connect-src": [csp.SELF],
        "form-action": [csp.SELF],
        "base-uri": [csp.NONE],
        "object-src": [csp.NONE],
        "frame-ancestors": [csp.NONE],
    }
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "quantleap.core.api.exceptions.csrf_failure"
LOGIN_REDIRECT_URL = "admin:index"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "quantleap" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["partners.api.authentication.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["quantleap.core.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["quantleap.core.api.parsers.NumberJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "quantleap.core.api.negotiation.OwnTypeNegotiation",
    "EXCEPTION_HANDLER": "quantleap.core.api.exceptions.handle",
    "DEFAULT_SCHEMA_CLASS": "quantleap.core.api.openapi.ApiSchema",
    "UNAUTHENTICATED_USER": None,
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "QuantLeap API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["quantleap.core.api.openapi.versioned_only"],
    "POSTPROCESSING_HOOKS": [],
}

# -- Celery: wake-ups only; Postgres holds the truth (docs/adr/0005) ------------------------------
CELERY_TASK_DEFAULT_QUEUE = "celery"
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A worker hosts an executor, which needs no message broker. So the worker keeps trying for ever;
# Celery would give up after a hundred tries and take the executor with it.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
DJANGO_CELERY_BEAT_TZ_AWARE = True
# Beat records what it has started after this many starts, some three a second, and not only every
# three minutes: the first page uses that to tell whether beat lives.
CELERY_BEAT_SYNC_EVERY = 60
CELERY_TASK_ROUTES = {"execution.*": {"queue": "execution"}}
CELERY_BEAT_SCHEDULE = {
    "relay-outbox": {"task": "core.relay_outbox", "schedule": 1.0},
    "deliver-webhooks": {"task": "partners.deliver_webhooks", "schedule": 1.0},
    "execution-tick": {"task": "execution.tick", "schedule": 1.0},
    "expire-broker-sessions": {"task": "brokers.expire_sessions", "schedule": 60.0},
    "watch-feeds": {
        "task": "brokers.watch_feeds",
        "schedule": 10.0,
        "options": {"expire_seconds": 10},
    },
    # trading days from 08:30 in India, and requests by staff at any time
    "import-contract-lists": {
        "task": "brokers.import_contract_lists",
        "schedule": 10.0,
        "options": {"expire_seconds": 10},
    },
    "carry-out-suspensions": {
        "task": "partners.carry_out_suspensions",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "forget-user-tokens": {"task": "partners.forget_user_tokens", "schedule": 3600.0},
    # UTC: 09:00 in India
    "announce-expiring-keys": {
        "task": "partners.announce_expiring_keys",
        "schedule": crontab(hour=3, minute=30),
    },
    # UTC: 05:00 in India, before the ledger is checked
    "mature-commission": {"task": "billing.mature_daily", "schedule": crontab(hour=23, minute=30)},
    # UTC: 04:30, 04:50 and 05:10 in India, outside the Sunday maintenance window (02:00 to 04:00)
    "bill": {"task": "billing.run_daily", "schedule": crontab(hour=23, minute=0)},
    # a run whose worker or database was killed; a late tick is skipped
    "take-over-billing": {
        "task": "billing.take_over",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "credit-withdrawals": {
        "task": "billing.credit_withdrawals",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "recognise-revenue": {
        "task": "billing.recognise_daily",
        "schedule": crontab(hour=23, minute=20),
    },
    "check-ledger": {"task": "billing.check_ledger_daily", "schedule": crontab(hour=23, minute=40)},
    "send-invoice-mails": {
        "task": "billing.send_mails",
        "schedule": 5.0,
        "options": {"expire_seconds": 5},
    },
    "send-endpoint-mails": {
        "task": "partners.send_endpoint_mails",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "send-customer-mails": {
        "task": "partners.send_customer_mails",
        "schedule": 5.0,
        "options": {"expire_seconds": 5},
    },
    "send-partner-mails": {
        "task": "partners.send_partner_mails",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "watch-keys": {"task": "core.watch_keys", "schedule": 3600.0},
    "forget-idempotency-records": {"task": "core.forget_idempotency_records", "schedule": 3600.0},
    # UTC: 04:15 in India
    "purge": {"task": "core.purge", "schedule": crontab(hour=22, minute=45)},
}

# -- Mail: printed until a provider is configured (docs/billing.md#mail) -------------------------
EMAIL_BACKEND: str = env.str("EMAIL_BACKEND", default="quantleap.core.mail.ConsoleBackend")
EMAIL_TIMEOUT = 30
# The provider's settings for django-anymail as JSON: {"POSTMARK_SERVER_TOKEN": "…"}
ANYMAIL: dict[str, Any] = {"REQUESTS_TIMEOUT": EMAIL_TIMEOUT, **env.json("ANYMAIL", default={})}
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default="billing@quantleap.example")

UNFOLD: dict[str, Any] = console.UNFOLD

# -- QuantLeap ---------------------------------------------------------------------------------
QUANTLEAP_REFUSE_PLAIN_HTTP = False
# The installation's public address: links in mails begin with it. Each profile has its own default.
QUANTLEAP_PUBLIC_URL: str = env.str("QUANTLEAP_PUBLIC_URL", default="http://127.0.0.1:8000")
QUANTLEAP_SIMULATOR_URL: str = env.str("QUANTLEAP_SIMULATOR_URL", default="")
QUANTLEAP_LIVE_BROKERS: list[str] = env.list("QUANTLEAP_LIVE_BROKERS", default=[])
QUANTLEAP_TRUSTED_PROXIES: list[str] = env.list("QUANTLEAP_TRUSTED_PROXIES", default=[])
QUANTLEAP_TRUSTED_HOPS: int = env.int("QUANTLEAP_TRUSTED_HOPS", default=1)
# How many segments the daily billing run bills in one transaction; the kill tests use few.
QUANTLEAP_BILLING_CHUNK: int = env.int("QUANTLEAP_BILLING_CHUNK", default=1000)
# Days that a customer has to pay an invoice, from its date.
QUANTLEAP_INVOICE_DUE_DAYS: int = env.int("QUANTLEAP_INVOICE_DUE_DAYS", default=7)
# Days that a commission stays pending before it is payable, from its accrual.
QUANTLEAP_REFUND_WINDOW_DAYS: int = env.int("QUANTLEAP_REFUND_WINDOW_DAYS", default=30)
# Requests a minute from one address to the public routes without credentials.
QUANTLEAP_ANONYMOUS_PER_MINUTE: int = env.int("QUANTLEAP_ANONYMOUS_PER_MINUTE", default=60)
# Web processes of the whole installation: while Redis is away, each has its part of every limit.
QUANTLEAP_WEB_PROCESSES: int = env.int("QUANTLEAP_WEB_PROCESSES", default=2)
# Seconds that a request waits for Redis (a connection, an answer) before its process decides alone.
QUANTLEAP_LIMITS_PATIENCE: float = env.float("QUANTLEAP_LIMITS_PATIENCE", default=0.2)
QUANTLEAP_BCRYPT_ROUNDS: int = env.int("QUANTLEAP_BCRYPT_ROUNDS", default=12)

# Lead times, seconds (docs/trading-day.md#the-day-on-a-clock); the kill tests shorten them.
QUANTLEAP_SHARDS: int = env.int("QUANTLEAP_SHARDS", default=8)
QUANTLEAP_LEASE_TTL: float = env.float("QUANTLEAP_LEASE_TTL", default=10.0)
QUANTLEAP_LEASE_HEARTBEAT: float = env.float("QUANTLEAP_LEASE_HEARTBEAT", default=3.0)
QUANTLEAP_ARM_LEAD: float = env.float("QUANTLEAP_ARM_LEAD", default=120.0)
QUANTLEAP_CONNECT_LEAD: float = env.float("QUANTLEAP_CONNECT_LEAD", default=30.0)
QUANTLEAP_RESOLVE_LEAD: float = env.float("QUANTLEAP_RESOLVE_LEAD", default=2.0)
QUANTLEAP_COMMIT_LEAD: float = env.float("QUANTLEAP_COMMIT_LEAD", default=1.0)
QUANTLEAP_ENTRY_GRACE: float = env.float("QUANTLEAP_ENTRY_GRACE", default=30.0)
QUANTLEAP_ANSWER_TIMEOUT: float = env.float("QUANTLEAP_ANSWER_TIMEOUT", default=5.0)
QUANTLEAP_QUOTE_MAX_AGE_ENTRY: float = env.float("QUANTLEAP_QUOTE_MAX_AGE_ENTRY", default=2.0)
QUANTLEAP_QUOTE_MAX_AGE_RISK: float = env.float("QUANTLEAP_QUOTE_MAX_AGE_RISK", default=5.0)
QUANTLEAP_CONTROL_MAX_AGE: float = env.float("QUANTLEAP_CONTROL_MAX_AGE", default=5.0)
# Overrides the adapters' visibility delay (seconds an accepted order may be missing from the book).
QUANTLEAP_VISIBILITY_DELAY: float | None = env.float("QUANTLEAP_VISIBILITY_DELAY", default=None)

# Each broker's addresses: bases of api, login, instruments and websocket (Noren's is a path of its
# api). The simulator replaces them all; a moved Kite api includes its websocket.
_KITE_API = "https://api.kite.trade"
_kite_api = env.str("QUANTLEAP_ZERODHA_API", default=_KITE_API)
_kite_stream = "https://ws.kite.trade" if _kite_api == _KITE_API else _kite_api
QUANTLEAP_BROKERS: dict[str, dict[str, str]] = {
    "zerodha": {
        "api": _kite_api,
        "login": env.str("QUANTLEAP_ZERODHA_LOGIN", default="https://kite.zerodha.com"),
        "instruments": "https://api.kite.trade/instruments/NFO",
        "stream": env.str("QUANTLEAP_ZERODHA_STREAM", default=_kite_stream),
    },
    "zebu": {
        "api": env.str("QUANTLEAP_ZEBU_API", default="https://go.mynt.in"),
        "login": env.str("QUANTLEAP_ZEBU_LOGIN", default="https://go.mynt.in"),
        "instruments": "https://go.mynt.in/NFO_symbols.txt.zip",
    },
}
if QUANTLEAP_SIMULATOR_URL:
    # QUANTLEAP_SIMULATOR_URL is the control port's address; the other ports follow it.
    _kite = env.str("QUANTLEAP_SIMULATOR_KITE", default="http://127.0.0.1:8901")
    _noren = env.str("QUANTLEAP_SIMULATOR_NOREN", default="http://127.0.0.1:8902")
    QUANTLEAP_BROKERS = {
        "zerodha": {"api": _kite, "login": _kite, "instruments": f"{_kite}/instruments/NFO"},
        "zebu": {"api": _noren, "login": _noren, "instruments": f"{_noren}/NFO_symbols.txt.zip"},
    }

SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001", "django_ratelimit.E003"]

configure_logging()
_LOG_LEVEL = env.str("QUANTLEAP_LOG_LEVEL", default="INFO")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": json_formatter()},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": _LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django_structlog": {"level": "WARNING"},
        **heartbeats(_LOG_LEVEL),
    },
}
