"""The limits with real processes and a real Valkey: many at once, and one that dies.

``make limits`` hammers for a minute instead of a few seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from quantleap.core import clock
from quantleap.core.rate_limits.buckets import Bucket, Charge
from quantleap.core.rate_limits.limiter import Limiter
from quantleap.core.tests.rate_limit_load import Passed, hammer_together
from quantleap.core.tests.token_bucket import somebody
from quantleap.embedded.folders import server_account
from quantleap.embedded.valkey import ValkeyServer, program

pytestmark = pytest.mark.process

RATES: Final = (1, 7, 45, 600, 10_000)
PROCESSES: Final = 8
SECONDS: Final = float(os.environ.get("SECONDS", "6"))
#: Requests a minute of the caller whose Valkey dies, and the seconds of each part.
RATE: Final = 600
PART: Final = 3.0


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of its own, which keeps nothing when it is killed."""
    (tmp_path / "log").mkdir()
    server = ValkeyServer(tmp_path, durable=False, run_as=server_account(tmp_path, [program()]))
    server.start()
    yield server
    server.stop()


def beyond(passed: Passed, per_minute: int) -> float:
    """By how many requests what passed exceeds one minute's worth and the refill of its time."""
    return passed.count - per_minute - (passed.last - passed.first) * per_minute / 60_000_000


def test_eight_processes_get_what_one_would(valkey: ValkeyServer) -> None:
    owners = [somebody() for _ in RATES]
    together = hammer_together(valkey.url(), [owners] * PROCESSES, RATES, SECONDS)
    for rate, passed in zip(RATES, together, strict=True):
        assert beyond(passed, rate) <= 1, (rate, passed)
    for rate, passed in zip(RATES[:4], together, strict=False):
        assert passed.count >= rate, (rate, passed)  # and not fewer than the burst


def test_control_a_bucket_for_each_process_is_noticed(valkey: ValkeyServer) -> None:
    apart = [[somebody() for _ in RATES] for _ in range(2)]
    together = hammer_together(valkey.url(), apart, RATES, 2.0)
    assert beyond(together[2], RATES[2]) > RATES[2] / 2


def test_a_valkey_that_dies_and_comes_back_lets_nobody_have_more(valkey: ValkeyServer) -> None:
    """No request fails, the limit holds to 5 %, and within 5 s the decisions are shared again."""
    limiter = Limiter(valkey.url(), lambda: 1, 0.2)
    charge = Charge(somebody(), (Bucket("manage", "manage", RATE),))
    begun = clock.monotonic()
    passed = _ask_for(limiter, charge, PART)
    valkey.kill()
    passed += _ask_for(limiter, charge, PART)
    assert limiter.outages >= 1
    valkey.restart()
    back = clock.monotonic()
    while not (decision := limiter.charge(charge)).shared:
        passed += decision.allowed
        assert clock.monotonic() - back < 5.0
    passed += decision.allowed + _ask_for(limiter, charge, PART)
    elapsed = clock.monotonic() - begun
    assert RATE <= passed <= 1.05 * (RATE + elapsed * RATE / 60)


def _ask_for(limiter: Limiter, charge: Charge, seconds: float) -> int:
    """How many requests passed in so many seconds."""
    end, passed = clock.monotonic() + seconds, 0
    while clock.monotonic() < end:
        passed += limiter.charge(charge).allowed
    return passed
