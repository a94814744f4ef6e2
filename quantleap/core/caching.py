"""What the cache may hold: JSON and nothing else; and what may be lost with it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import structlog
from django.core.cache import cache
from django.utils.functional import Promise
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


class JsonSerializer:
    """For Django's Redis cache. Whoever can write to the cache must not be able to run code here,
    which reading a pickle would allow.

    Plain numbers stay numbers to Redis, so that it can count. A dataclass comes back as a dict (the
    console's search keeps its results so; templates read both alike). Anything else that is no
    JSON raises TypeError where it is written. What cannot be read is None: as if it were not there.
    """

    def dumps(self, value: Any) -> int | bytes:
        """As Redis keeps it."""
        if type(value) is int:
            return value
        return json.dumps(value, default=_plain).encode()

    def loads(self, data: bytes | str) -> Any:
        """As it was, or None."""
        try:
            return json.loads(data)
        except ValueError:
            return None


class CacheUnavailable(Exception):
    """The cache does not answer, so nobody knows what it holds."""


def recall(key: str) -> Any:
    """What was remembered under ``key``; None where nothing was, or it ran out.

    CacheUnavailable where the cache does not answer. Only for what a page can do without: limits
    and authentication ask the cache themselves and refuse without it (ADR 0013).
    """
    try:
        return cache.get(key)
    except (RedisError, OSError) as error:
        raise CacheUnavailable from error


def remember(key: str, value: Any, seconds: int) -> None:
    """Remember JSON for so many seconds, if the cache can: it is lost, and logged, otherwise."""
    try:
        cache.set(key, value, seconds)
    except (RedisError, OSError) as error:
        log.warning("cache_unavailable", key=key, why=str(error))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Promise):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON: it cannot be cached")
