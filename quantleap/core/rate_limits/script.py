"""charge.lua, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from quantleap.core.rate_limits.buckets import Charge, Decision, read_answer
from quantleap.core.rate_limits.memory import Memory

#: The clock of the script. Tests put another one here: the body is the same.
SERVER_CLOCK: Final = """
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]), tonumber(time[2])
end
"""
BODY: Final = (Path(__file__).parent / "charge.lua").read_text()
Ask = Callable[[Sequence[str], Sequence[int]], Sequence[int]]


def connect(url: str, patience: float) -> redis.Redis:
    """A client that waits ``patience`` seconds for a connection, and as long for an answer.

    A connection that the server closed meanwhile is replaced once; an answer that does not come is
    not asked for again.
    """
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        url,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=retry,
        retry_on_error=[],
    )


def shared_script(client: redis.Redis) -> Ask:
    """The script of a server; a server that does not know it (restarted, another one) is taught."""
    script: Any = client.register_script(SERVER_CLOCK + BODY)
    return lambda keys, arguments: script(keys=keys, args=arguments)


def ask(script: Ask, charge: Charge, memory: Memory) -> Decision:
    """Charge a request in Redis. RedisError or OSError if Redis does not answer in time."""
    arguments = [len(charge.buckets)]
    for bucket, key in zip(charge.buckets, charge.keys, strict=False):
        arguments += [bucket.per_minute, memory.debt(key)]
    if charge.day is not None:
        arguments += [charge.day.per_day, *memory.day(charge.keys[-1])]
    answer = script(charge.keys, arguments)
    for place, key in enumerate(charge.keys[: len(charge.buckets)]):
        memory.note_debt(key, answer[3 + 3 * place])
    if charge.day is not None:
        memory.note_day(charge.keys[-1], answer[-2], answer[-1])
    return read_answer(charge, answer)
