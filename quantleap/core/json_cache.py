"""A cache of JSON only, whose content may be lost at any time."""

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
    """Serializer for Django's Redis cache. A process that can write to the cache must not be able
    to run code here, which reading a pickle would allow.

    Integers stay integers in Redis, so that it can count. A dataclass comes back as a dict (the
    console's search stores its results that way; templates read both alike). Any other value that
    is not JSON raises TypeError when it is written. A value that cannot be read is None, like a
    missing one.
    """

    def dumps(self, value: Any) -> int | bytes:
        """The value as Redis stores it."""
        if type(value) is int:
            return value
        return json.dumps(value, default=_plain).encode()

    def loads(self, data: bytes | str) -> Any:
        """The stored value, or None if it cannot be read."""
        try:
            return json.loads(data)
        except ValueError:
            return None


class CacheUnavailable(Exception):
    """The cache does not answer, so its content is unknown."""


def recall(key: str) -> Any:
    """The value stored under ``key``; None if there is none or it has expired.

    Raises CacheUnavailable if the cache does not answer. Only for values that a page can do
    without: limits and authentication ask the cache themselves and refuse without it (ADR 0013).
    """
    try:
        return cache.get(key)
    except (RedisError, OSError) as error:
        raise CacheUnavailable from error


def remember(key: str, value: Any, seconds: int) -> None:
    """Store JSON for ``seconds``; if the cache does not answer, log that and continue."""
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
