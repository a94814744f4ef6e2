"""charge.lua counts exactly: against a model in fractions, at times that the test says."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantleap.core import clock
from quantleap.core.rate_limits.buckets import Bucket, Charge, DayQuota
from quantleap.core.rate_limits.memory import Memory
from quantleap.core.rate_limits.script import BODY, ask, connect, shared_script
from quantleap.core.tests.token_bucket import MINUTE, NOON, MovedClock, TokenBucket, somebody

RATES = (1, 7, 45, 600, 10_000)
SECOND = 1_000_000


def one(per_minute: int, owner: str = "") -> Charge:
    return Charge(owner or somebody(), (Bucket("manage", "manage", per_minute),))


# -- the model ------------------------------------------------------------------------------------
gaps = st.lists(
    st.one_of(
        st.just(0), st.integers(0, 3), st.integers(0, 2 * SECOND), st.integers(0, 2 * MINUTE)
    ),
    min_size=1,
    max_size=60,
)


def differences(per_minute: int, waits: list[int], body: str) -> list[Any]:
    """Where the script and the model differ: allowed, remaining, wait."""
    script, model, charge = MovedClock(body), TokenBucket(per_minute), one(per_minute)
    found = []
    for gap in waits:
        script.at += gap
        allowed, _, _, _, remaining, wait = script.raw(charge)
        passed = model.take(script.at)
        expected = (passed, model.tokens // 1, 0 if passed else model.wait())
        if (bool(allowed), remaining, wait) != expected:
            found.append((gap, expected, allowed, remaining, wait))
    return found


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*RATES, 11, 59, 100_000]) | st.integers(1, 100_000), gaps)
def test_it_decides_as_the_model_does(per_minute: int, waits: list[int]) -> None:
    assert differences(per_minute, waits, BODY) == []


def test_a_script_that_rounds_is_noticed() -> None:
    rounding = BODY.replace("part + rest\n", "0\n")
    assert rounding != BODY
    waits = [0] * 7 + [8_571_428, 1] * 5
    assert differences(7, waits, BODY) == []
    assert differences(7, waits, rounding) != []


@pytest.mark.parametrize("per_minute", RATES)
def test_nobody_gets_more_than_capacity_and_rate(per_minute: int) -> None:
    """Asked again at the very microsecond of every refill, for as long as it takes to see 1 %."""
    script, charge, passed = MovedClock(), one(per_minute), 0
    for _ in range(3 * per_minute if per_minute < 1000 else per_minute + 300):
        allowed, *_, wait = script.raw(charge)
        passed += allowed
        assert passed <= per_minute + (script.at - NOON) * per_minute / MINUTE
        script.at += wait
    assert passed >= per_minute + (script.at - NOON) * per_minute // MINUTE - 1


# -- polite clients ------------------------------------------------------------------------------
def refusals(per_minute: int, percent: int, minutes: int = 5) -> int:
    """Refusals of a client that begins with a full bucket's worth and goes on evenly."""
    script, charge, refused = MovedClock(), one(per_minute), 0
    burst = [0] * per_minute
    evenly = [
        number * MINUTE * 100 // (per_minute * percent) + MINUTE * 100 // (per_minute * percent) + 1
        for number in range(min(minutes * per_minute * percent // 100, 3000))
    ]
    for offset in burst + evenly:
        script.at = NOON + offset
        refused += not script.raw(charge)[0]
    return refused


@pytest.mark.parametrize("per_minute", RATES[1:4])
def test_a_client_below_its_rate_is_never_refused(per_minute: int) -> None:
    """Five minutes at 99 %, after a burst that empties the bucket."""
    assert refusals(per_minute, 99) == 0
    assert refusals(per_minute, 101, minutes=30) > 0, "the control: a little too fast"


@pytest.mark.parametrize("per_minute", RATES)
def test_who_sleeps_as_long_as_told_passes(per_minute: int) -> None:
    """1,000 sleeps of Retry-After, 200 at each rate, at odd moments."""
    script, charge = MovedClock(), one(per_minute)
    slept = 0
    while slept < 200:
        decision = script.charge(charge)
        if decision.allowed:
            script.at += slept % 500
            continue
        exact = script.raw(charge)[-1]
        start = script.at
        assert decision.retry_after == -(-exact // SECOND)
        script.at = start + exact - 1
        assert not script.raw(charge)[0], "the control: a microsecond less"
        script.at = start + decision.retry_after * SECOND
        assert script.charge(charge).allowed
        slept += 1


def drain(script: MovedClock, charge: Charge) -> None:
    while script.raw(charge)[0]:
        pass


# -- several buckets, one answer -----------------------------------------------------------------
def test_a_refused_request_is_charged_to_none() -> None:
    script, owner = MovedClock(), somebody()
    wide, small = Bucket("login", "login", 60), Bucket("login-customer", "login:asha", 2)
    both = Charge(owner, (wide, small), DayQuota("all", 100))
    assert [script.charge(both).allowed for _ in range(5)] == [True, True, False, False, False]
    refused = script.charge(both)
    assert [item.remaining for item in refused.standings] == [58, 0, 98]
    assert (refused.binding.policy, refused.retry_after) == ("login-customer", 30)
    other = Charge(owner, (wide, Bucket("login-customer", "login:bharat", 2)))
    assert script.charge(other).allowed
    assert script.charge(other).standings[0].remaining == 56


def test_another_rate_keeps_the_debt() -> None:
    """Staff may edit a limit at any time; parts of a microsecond are parts of another size then."""
    script, owner = MovedClock(), somebody()
    drain(script, one(7, owner))
    assert not script.charge(one(45, owner)).allowed
    script.at += 10 * SECOND
    assert [script.charge(one(45, owner)).allowed for _ in range(9)] == [True] * 7 + [False] * 2
    script.at += 60 * SECOND
    assert [script.charge(one(7, owner)).allowed for _ in range(8)] == [True] * 7 + [False]


def test_a_clock_that_is_put_back_locks_nobody_out_for_long() -> None:
    """A replica that takes over may be behind by an hour."""
    script, charge = MovedClock(), one(6)
    drain(script, charge)
    script.at -= 3600 * SECOND
    assert script.charge(charge).retry_after == 10


def test_a_lost_bucket_comes_back_as_this_process_knew_it() -> None:
    script, charge, memory = MovedClock(), one(6), Memory()
    while ask(script, charge, memory).allowed:
        pass
    script.client.delete(*charge.keys)
    assert not ask(script, charge, memory).allowed
    script.client.delete(*charge.keys)
    assert ask(script, charge, Memory()).allowed, "the control: who knows nothing gives a new one"


# -- the day --------------------------------------------------------------------------------------
MIDNIGHT = NOON + 12 * 3600 * SECOND


def daily(per_day: int) -> Charge:
    return Charge(somebody(), (Bucket("manage", "manage", 600),), DayQuota("all", per_day))


def test_the_day_changes_once_at_midnight_in_india() -> None:
    assert dt.datetime.fromtimestamp(MIDNIGHT // SECOND, clock.IST).isoformat()[11:19] == "00:00:00"
    script, charge = MovedClock(), daily(3)
    passed = []
    for at in (-5, -4, -3, -2, -1, 0, -1, 1, 2, -2, 3, 4):  # seconds; the clock goes back twice
        script.at = MIDNIGHT + at * SECOND
        passed.append((at, script.charge(charge).allowed))
    assert [at for at, allowed in passed if allowed] == [-5, -4, -3, 0, -1, 1]
    script.at = MIDNIGHT - SECOND // 1000
    assert script.charge(charge).retry_after > 86_400 - 60, "the new day has begun, and is used up"
    script.at = MIDNIGHT + 86_400 * SECOND
    assert script.charge(charge).allowed


def test_the_day_tells_when_it_ends() -> None:
    script, charge = MovedClock(), daily(1)
    assert script.charge(charge).allowed
    refused = script.charge(charge)
    assert (refused.binding.policy, refused.retry_after) == ("day", 12 * 3600)
    assert refused.binding.words == "1 request per day"
    assert refused.standings[0].remaining == 599, "a minute's bucket is not charged"
    script.at += (refused.retry_after - 1) * SECOND
    assert not script.charge(charge).allowed
    script.at += SECOND
    assert script.charge(charge).allowed


# -- whose clock -----------------------------------------------------------------------------------
def test_the_clocks_of_web_processes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three web processes, two of them five seconds off, decide the same."""

    def decisions(seconds: float) -> list[Any]:
        with monkeypatch.context() as moved:
            real = clock.real_timestamp()
            moved.setattr(clock, "real_timestamp", lambda: real + seconds)
            moved.setattr(clock, "now", lambda: dt.datetime.fromtimestamp(real + seconds, dt.UTC))
            script, charge = MovedClock(), daily(8)
            script.at = MIDNIGHT - 3 * SECOND
            found = []
            for _ in range(20):
                script.at += 300_000
                found.append(script.charge(charge))
            alone.append(Memory().decide(charge, 2).at)
            return found

    alone: list[int] = []
    exact = decisions(0)
    assert [decision.allowed for decision in exact] == [True] * 8 + [False] + [True] * 8 + [
        False
    ] * 3
    assert decisions(5) == decisions(-5) == exact
    assert len(set(alone)) == 3, "the control: who decides alone has no other clock"


@pytest.mark.django_db
def test_the_time_is_the_servers_and_a_forgotten_script_is_taught_again(settings: Any) -> None:
    client = connect(settings.REDIS_URL, 30.0)
    script, charge = shared_script(client), one(600)
    for _ in range(2):
        decision = ask(script, charge, Memory())
        seconds, _ = client.time()
        assert decision.allowed
        assert seconds - 1 <= decision.at <= seconds
        client.script_flush()
    assert 0 < client.pttl(charge.keys[0]) <= 120_000
