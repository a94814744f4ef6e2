"""What a flood of wrong secrets costs the partners who have the right one.

``python -m bench.flood``: an installation of its own below ``var/bench`` with the web processes
of ``make run``. A partner calls 50 times a second, alone and then beside 50 calls a second with
wrong secrets, which are well formed and have a correct checksum; half of them name the very key
that is calling. Meanwhile keys that have never called before call for the first time. Promises:
the good calls' p99 is at most twice what it was alone, no good call is refused, every wrong one is,
and a first call takes no longer than a good one may. Writes ``var/bench/flood.json``; exit status
1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from bench.figures import Target, percentile
from bench.installation import VAR, Installation

#: Calls a second, of each kind.
RATE: Final = 50
#: A key that has never called, every so many seconds.
COLD_EVERY: Final = 2.0
#: Longest wait for one answer, seconds.
PATIENCE: Final = 30.0
#: Below this a p99 of the calls alone is noise of the machine, milliseconds.
NOISE_MS: Final = 5.0
ROUTE: Final = "/api/v1/partner/subscriptions?per_page=1"

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call: its kind, status (0: none) and milliseconds from when it was due."""

    kind: str
    status: int
    ms: float


class Load:
    """Calls in an open loop: a late answer delays no later call."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.calls: list[Call] = []

    async def run(self, kind: str, callers: Sequence[Headers], every: float, count: int) -> None:
        """Start ``count`` calls, one each ``every`` seconds, the callers in turn."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = begin + number * every
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                group.create_task(self._call(kind, callers[number % len(callers)], due))

    async def _call(self, kind: str, headers: Headers, due: float) -> None:
        status = 0
        try:
            async with self._session.get(self._url, headers=headers) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            pass  # status 0: there was no answer
        self.calls.append(Call(kind, status, (asyncio.get_running_loop().time() - due) * 1000))


async def play(
    url: str, good: Headers, wrong: Sequence[Headers], cold: Sequence[Headers], seconds: float
) -> tuple[list[Call], list[Call]]:
    """The calls of both halves: the good ones alone, and beside the flood."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await Load(session, url).run("warm-up", [good], 1 / RATE, 5 * RATE)
        alone = Load(session, url)
        await alone.run("good", [good], 1 / RATE, int(seconds * RATE))
        flooded = Load(session, url)
        async with asyncio.TaskGroup() as group:
            group.create_task(flooded.run("wrong", wrong, 1 / RATE, int(seconds * RATE)))
            group.create_task(flooded.run("good", [good], 1 / RATE, int(seconds * RATE)))
            group.create_task(flooded.run("cold", cold, COLD_EVERY, len(cold)))
    return alone.calls, flooded.calls


def issue_keys(cold_count: int) -> tuple[Headers, list[Headers], list[Headers]]:
    """The calling key, the wrong secrets, and keys that have never called."""
    from partners import permissions
    from partners.api_keys import new_secret
    from partners.models import Partner
    from partners.services import issue_key
    from quantleap.core import clock
    from quantleap.core.audit import SYSTEM

    partners = [
        Partner.objects.create(slug=slug, name=slug, default_broker="zebu")
        for slug in ("calling", "other")
    ]

    def key_of(partner: Partner) -> Headers:
        issued = issue_key(
            partner_id=partner.pk,
            environment="live",
            permissions=permissions.ALL,
            actor=SYSTEM,
            now=clock.now(),
            requests_per_minute=100_000,
            requests_per_day=10_000_000,
        )
        return {"Authorization": f"Bearer {issued.key}", "X-Partner-Secret": issued.secret}

    good, other = key_of(partners[0]), key_of(partners[1])
    wrong: list[Headers] = [
        {**headers, "X-Partner-Secret": new_secret(partner.slug, "live").text}
        for _ in range(500)
        for partner, headers in zip(partners, (good, other), strict=True)
    ]
    return good, wrong, [key_of(partners[1]) for _ in range(cold_count)]


def judge(alone: Sequence[Call], flooded: Sequence[Call]) -> list[Target]:
    """The promises, with this run's figures."""
    before = p99(alone, "good")
    allowed = 2 * max(before, NOISE_MS)
    return [
        Target("good call beside the flood, p99", p99(flooded, "good"), allowed),
        Target("first call of a key beside the flood, worst", max(of(flooded, "cold")), allowed),
        Target("good calls refused", refused(flooded, ("good", "cold"), 200), 0, ""),
        Target("good calls refused without a flood", refused(alone, ("good",), 200), 0, ""),
        Target("wrong secrets not refused", refused(flooded, ("wrong",), 401), 0, ""),
    ]


def of(calls: Iterable[Call], kind: str) -> list[float]:
    """Milliseconds of one kind, ascending."""
    return sorted(call.ms for call in calls if call.kind == kind)


def p99(calls: Iterable[Call], kind: str) -> float:
    """The slowest but one in a hundred, milliseconds."""
    return round(percentile(of(calls, kind), 0.99), 2)


def refused(calls: Iterable[Call], kinds: Sequence[str], expected: int) -> int:
    """How many calls of these kinds got another status."""
    return sum(call.kind in kinds and call.status != expected for call in calls)


def measure(seconds: float) -> dict[str, Any]:
    """Play both halves against the web processes of an installation."""
    with Installation(answer_after=0.0) as installation:
        from quantleap.supervisor.parts import Layout

        layout = Layout(only=frozenset({"web"}), port=8790)
        [web] = layout.parts()
        good, wrong, cold = issue_keys(int(seconds / COLD_EVERY))
        with installation.process("web", web.command):
            deadline = time.monotonic() + 60
            while not web.is_ready():
                if time.monotonic() > deadline:
                    raise SystemExit("the web processes did not start")
                time.sleep(0.1)
            alone, flooded = asyncio.run(play(layout.url + ROUTE, good, wrong, cold, seconds))
    targets = judge(alone, flooded)
    return {
        "seconds": seconds,
        "rate": RATE,
        "machine": platform.platform(),
        "alone_p50_ms": round(percentile(of(alone, "good"), 0.5), 2),
        "alone_p99_ms": p99(alone, "good"),
        "flooded_p50_ms": round(percentile(of(flooded, "good"), 0.5), 2),
        "wrong_p99_ms": p99(flooded, "wrong"),
        "cold_keys": len(of(flooded, "cold")),
        "targets": [target.json() for target in targets],
        "lines": [target.line() for target in targets],
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=200.0, help="of each half")
    result = measure(parser.parse_args().seconds)
    path = VAR / "flood.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"alone: p50 {result['alone_p50_ms']} ms, p99 {result['alone_p99_ms']} ms; beside "
        f"{RATE} wrong secrets a second: p50 {result['flooded_p50_ms']} ms"
    )
    print(*result["lines"], sep="\n")
    return 0 if all(target["holds"] for target in result["targets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
