"""Processes that ask for a caller's requests as fast as they can, each over its own connection."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from quantleap.core import clock
from quantleap.core.rate_limits.buckets import Bucket, Charge
from quantleap.core.rate_limits.memory import Memory
from quantleap.core.rate_limits.script import Ask, connect, shared_script

#: Seconds; longer than any pause of a busy machine, because here nobody may decide alone.
PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Passed:
    """The requests of one bucket that passed: how many, and the server's time (microseconds) of the
    first and the last one."""

    count: int
    first: int
    last: int


def hammer(url: str, owners: Sequence[str], rates: Sequence[int], seconds: float) -> list[Passed]:
    """Ask for one bucket after the other, of ``rates`` requests a minute, for ``seconds``."""
    script = shared_script(connect(url, PATIENCE))
    charges = [
        Charge(owner, (Bucket("manage", "manage", rate),))
        for owner, rate in zip(owners, rates, strict=True)
    ]
    passed = [Passed(0, 0, 0) for _ in rates]
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        for place, charge in enumerate(charges):
            allowed, at = _ask(script, charge)
            if allowed:
                so_far = passed[place]
                passed[place] = Passed(so_far.count + 1, so_far.first or at, at)
    return passed


def _ask(script: Ask, charge: Charge) -> tuple[bool, int]:
    arguments = [1, charge.buckets[0].per_minute, Memory().debt(charge.keys[0])]
    answer: Any = script(charge.keys, arguments)
    return bool(answer[0]), answer[1] * 1_000_000 + answer[2]


def hammer_together(
    url: str, owners: Sequence[Sequence[str]], rates: Sequence[int], seconds: float
) -> list[Passed]:
    """What passed of each bucket in as many processes as ``owners`` has rows, added up."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(owners), mp_context=spawn) as pool:
        futures = [pool.submit(hammer, url, row, rates, seconds) for row in owners]
        parts = [future.result() for future in futures]
    return [
        Passed(
            sum(part[place].count for part in parts),
            min((part[place].first for part in parts if part[place].count), default=0),
            max(part[place].last for part in parts),
        )
        for place in range(len(rates))
    ]
