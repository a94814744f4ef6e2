"""A bucket of tokens in exact fractions, and charge.lua with a clock that a test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final
from uuid import uuid4

import redis
from django.conf import settings

from quantleap.core.rate_limits.buckets import Charge, Decision
from quantleap.core.rate_limits.memory import Memory
from quantleap.core.rate_limits.script import BODY, ask

#: 1 December 2026, 12:00 in India, as unix microseconds.
NOON: Final = 1_796_106_600 * 1_000_000
MINUTE: Final = 60_000_000
_FAKE_CLOCK: Final = """
local micros = tonumber(table.remove(ARGV))
local function clock()
  return math.floor(micros / 1000000), micros % 1000000
end
"""


@dataclass
class TokenBucket:
    """The model: so many tokens, refilled continuously; a request takes one or is refused.

    It is another algorithm than the script's, and rounds nothing.
    """

    per_minute: int
    tokens: Fraction = field(init=False)
    at: int = NOON  # microseconds

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.per_minute)

    def take(self, at: int) -> bool:
        """Whether a request passes at this microsecond."""
        self._refill(at)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def wait(self) -> int:
        """Microseconds until one more passes, rounded up."""
        missing = max(1 - self.tokens, Fraction(0))
        return -(-missing * MINUTE // self.per_minute)

    def _refill(self, at: int) -> None:
        added = Fraction((at - self.at) * self.per_minute, MINUTE)
        self.tokens = min(self.tokens + added, Fraction(self.per_minute))
        self.at = at


class MovedClock:
    """The production script at the times that a test says, in the tests' Valkey."""

    def __init__(self, body: str = BODY) -> None:
        self.at = NOON  # microseconds
        self.client = redis.Redis.from_url(settings.REDIS_URL)
        self._script: Any = self.client.register_script(_FAKE_CLOCK + body)

    def __call__(self, keys: Sequence[str], arguments: Sequence[int]) -> Sequence[int]:
        """The script's answer."""
        answer: Sequence[int] = self._script(keys=keys, args=[*arguments, self.at])
        return answer

    def charge(self, charge: Charge) -> Decision:
        """Charge a request, as a process that has never heard of the buckets."""
        return ask(self, charge, Memory())

    def raw(self, charge: Charge) -> Sequence[int]:
        """The script's answer to a charge of buckets alone."""
        rates = [value for bucket in charge.buckets for value in (bucket.per_minute, 0)]
        return self(charge.keys, [len(charge.buckets), *rates])


def somebody() -> str:
    """An owner of buckets whom nobody else has."""
    return uuid4().hex
