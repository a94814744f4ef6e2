"""One hostile account costs nobody else anything: judged by what left and what was closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from brokers.base import HttpResponse
from brokers.models import BrokerAccount
from brokers.tests import loopback
from brokers.wire_values import MAX_VALUES, read_json
from execution.engine.memory.actors import RESTS, Actor
from execution.models import Execution, OrderIntent
from execution.tests import hostile, wire
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.hostile import Manner
from execution.tests.installation import Installation, assert_filled, wait_until
from execution.tests.parts import Parts
from marketplace.tests.factories import make_short_straddle
from quantleap.core import clock

HEALTHY = 3


def closed(accounts: list[BrokerAccount]) -> bool:
    count: int = Execution.objects.filter(account__in=accounts, status="CLOSED").count()
    return count == len(accounts)


@contextmanager
def swallowing() -> Iterator[str]:
    with loopback.Swallower() as swallower:
        yield f"http://127.0.0.1:{swallower.port}"


@pytest.fixture
def play(
    installation: Installation, executor: Callable[[], Any], settings: Any
) -> Callable[..., Any]:
    """A day of healthy accounts at one broker and of hostile ones at the other; the hostile."""

    def day(url: str, hostiles: Sequence[BrokerAccount]) -> set[str]:
        brokers = settings.QUANTLEAP_BROKERS
        settings.QUANTLEAP_BROKERS = {**brokers, "zebu": {**brokers["zebu"], "api": url}}
        healthy = make_accounts(HEALTHY, partner=make_partner(), brokers=("zerodha",), prefix="H")
        log_in([*hostiles, *healthy], installation.control.token, clock.now())
        template = make_short_straddle(strategy=installation.entry_in(10, 5))
        subscribe_accounts(template, [*hostiles, *healthy])
        executor()
        wait_until(lambda: closed(healthy), 60)
        intents = list(OrderIntent.objects.filter(account__in=healthy))
        assert_filled(intents)
        assert len([i for i in intents if i.purpose == "ENTRY"]) == 2 * HEALTHY
        rows = installation.control.ask("GET", "/positions")["positions"]
        assert [row for row in rows if row["quantity"]] == []
        ends = Execution.objects.filter(account__in=hostiles)
        return set(ends.values_list("status", flat=True))

    return day


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_hostile_accounts_keep_nobody_from_trading(play: Callable[..., Any]) -> None:
    """The hostile ones' reads hang or drip, or bring garbage, 50 MB, much work, a dead token,
    absurd figures or a 429."""
    accounts = make_accounts(len(Manner), partner=make_partner(), prefix="X")
    manners = {a.client_id: manner for a, manner in zip(accounts, Manner, strict=True)}
    with hostile.broker(manners) as running:
        ends = play(running.url, accounts)
        assert running.shown == set(Manner), "the control: each was hostile"
    assert "CLOSED" not in ends, "and none of them is well itself"


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
def test_unreachable_accounts_keep_nobody_from_trading(play: Callable[..., Any]) -> None:
    """The healthy accounts enter and leave while the other broker takes no connection."""
    accounts = make_accounts(2, partner=make_partner(), prefix="X")
    with swallowing() as url:
        assert "CLOSED" not in play(url, accounts)


# -- mountains ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * MAX_VALUES + b"0]",
        b"[" + b"{}," * MAX_VALUES + b"{}]",
        b"{" + b",".join(b'"%d":1' % number for number in range(MAX_VALUES + 1)) + b"}",
    ],
    ids=["numbers", "objects", "names"],
)
def test_a_document_of_more_values_than_a_days_book_is_not_read(body: bytes) -> None:
    """8 MB of them held the interpreter for longer than an exit may take to leave."""
    assert read_json(body) is None
    assert read_json(body[:1] + body[1:1000].rsplit(b",", 1)[0] + body[-1:]) is not None


def test_a_days_book_of_three_thousand_orders_is_read() -> None:
    row = {f"field_{number}": "a value" for number in range(44)}
    rows = [{"order_id": str(number), **row} for number in range(3000)]
    orders = read_json(json.dumps(rows).encode())
    assert isinstance(orders, list)
    assert len(orders) == len(rows)


def test_an_account_that_is_much_work_rests() -> None:
    """The account with an empty book is read twice before the one with 12,000 orders."""
    row = {"order_id": "1" * 15, "status": "COMPLETE", "tag": "x" * 20, "quantity": 65}
    mountain = json.dumps(
        {"status": "success", "data": [{**row, "order_id": f"{n:015}"} for n in range(12_000)]}
    ).encode()

    async def main() -> list[str]:
        read: list[str] = []
        calls = Parts().calls
        actors = {name: Actor(wire.REAL._replace(client_id=name)) for name in ("large", "small")}
        bodies = {"large": mountain, "small": b'{"status": "success", "data": []}'}

        async def twice(name: str) -> None:
            for _ in range(2):
                await actors[name].rested()
                response = HttpResponse(200, {}, bodies[name])
                book = await calls.parse(wire.ADAPTER.parse_order_book, response, actors[name])
                assert book.ok
                read.append(name)

        await asyncio.gather(twice("large"), twice("small"))
        await calls.close()
        return read

    assert asyncio.run(main()) == ["small", "small", "large", "large"]
    assert RESTS > 1
