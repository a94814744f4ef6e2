"""A broker that says "too many requests" is obeyed, inside the grace, whatever else it says."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import Cause, HttpResponse, Outcome, SendResult
from brokers.pace import Call, Urgency
from brokers.registry import get_adapter
from execution import lifecycle, state, transitions
from execution.engine.wire.connection import Answer
from execution.tags import MAX_SENDS
from execution.tests import wire
from execution.tests.inmemory import ENTRY_AT, live_execution, live_intent, live_run
from execution.tests.parts import Parts
from execution.throttling import LONGEST, asked_wait, next_try
from quantleap.core import clock

NOW = dt.datetime(2026, 9, 8, 3, 50, tzinfo=dt.UTC)
REFUSAL = b'{"status": "error", "message": "Too many requests", "error_type": "NetworkException"}'
TOO_FAST = "Invalid Input :  Order Recieved 11 in a current second exceeds Limit 10 for user"
ACCEPTED = b'{"status": "success", "data": {"order_id": "151220000000000"}}'


def at(seconds: float) -> str:
    """An HTTP date so many seconds from now."""
    return format_datetime(NOW + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 12 "}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": at(7)}, 7.0),
        # the broker's clock is an hour off: its own date says how long
        ({"retry-after": at(3607), "date": at(3600)}, 7.0),
        ({}, 10.0),
    ],
    ids=["3 s", "blanks", "half a second", "date", "date of another clock", "not said"],
)
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(
    headers: dict[str, str], wait: float
) -> None:
    assert asked_wait(headers, now=NOW, cool_down=10.0) == wait


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("-5", 10.0),
        ("0", 10.0),
        ("", 10.0),
        ("soon", 10.0),
        ("1e9", 10.0),
        ("nan", 10.0),
        ("٣", 10.0),
        ("3, 4", 10.0),
        (at(-60), 10.0),
        ("Wed, 99 Foo 2026 99:99:99 GMT", 10.0),
        ("1000000000", LONGEST),
        ("9" * 20, LONGEST),
        ("9" * 5000, 10.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
    ],
)
def test_hostile_retry_afters_are_bounded(text: str, wait: float) -> None:
    assert asked_wait({"retry-after": text}, now=NOW, cool_down=10.0) == wait


@given(after=st.text(max_size=60), date=st.text(max_size=60), cool_down=st.floats(0.1, 20))
def test_no_answer_holds_an_account_longer_than_the_grace(
    after: str, date: str, cool_down: float
) -> None:
    headers = {"retry-after": after, "date": date}
    assert 0 < asked_wait(headers, now=NOW, cool_down=cool_down) <= LONGEST


@given(asked=st.floats(0.1, 9))
def test_three_sends_are_spread_over_the_grace(asked: float) -> None:
    """It was three tries inside three seconds, and everybody MISSED."""
    grace, moment, sends = 30.0, 0.0, [0.0]
    while len(sends) < MAX_SENDS:
        moment += next_try(asked, sends=len(sends), grace_left=grace - moment)
        sends.append(moment)
    assert sends[1] == asked  # obeyed, not outdone
    assert grace / 2 <= sends[2] < grace
    assert sends[2] - sends[1] >= asked


def test_an_exit_waits_just_as_long_as_it_was_asked_to() -> None:
    assert [next_try(3.0, sends=sends, grace_left=None) for sends in (1, 2)] == [3.0, 3.0]


# -- on the wire -----------------------------------------------------------------------------------
def refusing(times: int, *headers: str) -> Any:
    """A broker that refuses the first calls as too many."""

    def answer(request: bytes, before: int) -> bytes:
        if before < times:
            return wire.reply(REFUSAL, "429 Too Many Requests", *headers)
        return wire.reply(ACCEPTED)

    return answer


@pytest.mark.parametrize("purpose", [lifecycle.ENTRY, lifecycle.EXIT])
def test_429_holds_back_everything_that_an_account_sends(purpose: str) -> None:
    """The answer came with Retry-After."""

    async def main() -> tuple[wire.Told, float, float]:
        async with wire.broker(refusing(1, "Retry-After: 1")) as (url, _):
            told = wire.Told()
            channel = wire.channel(url, told)
            await channel.warm_up(1)
            channel.load(wire.sending(channel, purpose=purpose))
            channel.load(wire.sending(channel, purpose=purpose))
            channel.drain()
            await told.until(lambda told: bool(told.answers))
            cancels = channel.pacer.next_slot(clock.monotonic(), Call.CHANGE, Urgency.FIRST)
            refused_at = told.answers[0][1].at
            await told.until(lambda told: len(told.answers) == 2)
            channel.close()
            return told, refused_at, cancels

    told, refused_at, cancels = asyncio.run(main())
    assert [answer.response.status for _, answer in told.answers if answer.response] == [429, 200]
    assert told.sent[1][1] - refused_at >= 1.0  # an order that leaves is never early
    assert cancels - refused_at >= 1.0


def answered(intent: state.LiveIntent, response: HttpResponse, at_mono: float) -> None:
    """The intent after a broker's answer, as the executor takes it."""

    async def main() -> None:
        channel = wire.channel("http://127.0.0.1:9", wire.Told())
        run = live_run(entry_at=clock.now(), grace_until=clock.now() + dt.timedelta(seconds=30))
        parts = Parts(channel)
        parts.day.adopt([live_execution(run, id=1)])
        parts.sender.on_answer(intent, Answer(response, "", at_mono))

    asyncio.run(main())


def test_kites_ten_seconds_after_a_breach_are_waited_for() -> None:
    """Kite refuses everything for about ten seconds and does not say so."""
    intent = live_intent(state=lifecycle.SENDING, sends=1)
    now = clock.monotonic()
    answered(intent, HttpResponse(429, {}, REFUSAL), now)
    assert (intent.state, intent.cause) == (lifecycle.PLANNED, "RATE_LIMIT")
    assert 10.0 <= intent.not_before_mono - now < 13.0


def test_the_last_send_leaves_in_the_second_half_of_the_grace() -> None:
    intent = live_intent(state=lifecycle.SENDING, sends=2)
    now = clock.monotonic()
    answered(intent, HttpResponse(429, {"retry-after": "1"}, REFUSAL), now)
    assert intent.not_before_mono - now > 13.0


def test_a_throttled_cancel_holds_the_account_still() -> None:
    async def main() -> float:
        async with wire.broker(refusing(1, "Retry-After: 7")) as (url, _):
            channel = wire.channel(url, wire.Told())
            parts = Parts(channel)
            before = clock.monotonic()
            await parts.cancels.send(wire.sending(channel, broker_order_id="151220000000000"))
            await parts.calls.close()
            return channel.pacer.held_until(Call.PLACE) - before

    assert asyncio.run(main()) >= 7.0


@pytest.mark.parametrize(("emsg", "held"), [(TOO_FAST, True), ("Order not found", False)])
@pytest.mark.parametrize("what", ["order", "cancel"])
def test_norens_400_holds_the_account_still_as_a_429_does(what: str, emsg: str, held: bool) -> None:
    """Noren refuses one call too many with HTTP 400 and a sentence of its own."""
    body = json.dumps({"stat": "Not_Ok", "emsg": emsg}).encode()

    async def main() -> float:
        refusal = wire.reply(body, "400 Bad Request", "Retry-After: 7")
        async with wire.broker(lambda request, before: refusal) as (url, _):
            told = wire.Told()
            channel = wire.channel(url, told)
            channel.adapter = get_adapter("zebu")
            before = clock.monotonic()
            if what == "order":
                await channel.warm_up(1)
                channel.load(wire.sending(channel))
                channel.drain()
                await told.until(lambda told: bool(told.answers))
            else:
                parts = Parts(channel)
                await parts.cancels.send(wire.sending(channel, broker_order_id="1"))
                await parts.calls.close()
            until = channel.pacer.held_until(Call.PLACE)
            channel.close()
            return until - before

    assert (asyncio.run(main()) >= 7.0) == held


def test_an_entry_that_a_broker_throttled_to_the_end_says_so() -> None:
    intent = live_intent(state=lifecycle.SENDING, sends=1)
    result = SendResult(Outcome.REFUSED, cause=Cause.RATE_LIMIT, retryable=True)
    transitions.apply_answer(intent, result, at=ENTRY_AT, now_mono=50.0, jitter=0.0, wait=20.0)
    assert intent.not_before_mono == 70.0
