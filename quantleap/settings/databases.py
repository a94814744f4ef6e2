"""Databases and caches from URLs, and how long they may keep a process waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from quantleap.settings.process import ProcessKind, process_kind

#: Seconds in which the server may still report that it has cancelled a statement.
LAST_WORD: Final = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long PostgreSQL lets one of our sessions take, in seconds; 0 is unlimited."""

    statement: float = 0
    lock: float = 0
    idle_in_transaction: float = 0

    @property
    def patience(self) -> float | None:
        """Seconds to wait for one answer: a little longer than the server may take; None:
        unlimited."""
        return self.statement + LAST_WORD if self.statement else None

    @property
    def options(self) -> str:
        """The limits as libpq's ``options``: part of the connection itself, so no statement can
        forget them."""
        values = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }
        return " ".join(f"-c {name}={seconds * 1000:.0f}" for name, seconds in values.items())


#: A person waits for web; one statement of a billing run may take minutes; migrations take as long
#: as they take. A worker's limits are for statements that hang, not for long ones. An executor's
#: seconds belong to its customers: what it cannot write soon it tries again over another
#: connection, and a connection lost in the middle of a transaction must not keep its locks for
#: longer than a lease.
LIMITS: Final = {
    ProcessKind.WEB: Limits(statement=30, lock=10, idle_in_transaction=60),
    ProcessKind.WORKER: Limits(statement=3600, lock=300, idle_in_transaction=900),
    ProcessKind.EXECUTOR: Limits(statement=8, lock=5, idle_in_transaction=5),
    ProcessKind.COMMAND: Limits(),
}

#: For every process: how an unreachable server is noticed. libpq's names:
#: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
LIVENESS: Final = {
    "connect_timeout": 5,  # seconds
    "tcp_user_timeout": 15_000,  # milliseconds that sent data may stay unacknowledged
    "keepalives": 1,
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
#: An executor is fenced eight seconds after its last heartbeat, and needs time for another
#: connection.
LIVENESS_OF_EXECUTORS: Final = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2_500,
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
}


def of_this_process(url: str) -> dict[str, Any]:
    """:func:`postgres` with the limits and the liveness settings of this kind of process."""
    kind = process_kind()
    liveness = LIVENESS_OF_EXECUTORS if kind is ProcessKind.EXECUTOR else LIVENESS
    return postgres(url, limits=LIMITS[kind], liveness=liveness)


def postgres(
    url: str,
    *,
    limits: Limits | None = None,
    pool: bool = False,
    liveness: Mapping[str, int] = LIVENESS,
) -> dict[str, Any]:
    """Django's settings for a ``postgres://user:password@host:port/name?host=/socket`` URL.

    The URL's query has priority over ``limits`` and ``liveness``.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must be postgres://user@host/name")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    host = query.pop("host", parts.hostname or "")
    port = query.pop("port", "")
    given = query.pop("options", "")
    options: dict[str, Any] = {**liveness, **query}
    # PostgreSQL takes the last of several values.
    if said := f"{(limits or Limits()).options} {given}".strip():
        options["options"] = said
    options["patience"] = (limits or Limits()).patience
    if pool:
        options["pool"] = {"min_size": 1, "max_size": 24, "timeout": 10}
    return {
        "ENGINE": "quantleap.core.postgres",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or port),
        "CONN_MAX_AGE": 0 if pool else 60,
        "CONN_HEALTH_CHECKS": not pool,
        "OPTIONS": options,
    }


def cache(redis_url: str) -> dict[str, Any]:
    """Django's settings for the cache: JSON, because reading a pickle runs whatever is in it.

    VERSION is part of every key, so that values written as pickles are not found any more. A silent
    server is given up after three seconds; the caller decides what follows.
    """
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": redis_url,
        "VERSION": 2,
        "OPTIONS": {"serializer": "quantleap.core.json_cache.JsonSerializer", "socket_timeout": 3},
    }


def celery_broker(redis_url: str) -> str:
    """Celery's spelling of a Redis URL (unix sockets have a scheme of their own there)."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    db = parse_qs(parts.query).get("db", ["0"])[-1]
    return f"redis+socket://{parts.path}?virtual_host={db}"
