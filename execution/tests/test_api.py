"""What was traded and what is open, over the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from brokers.tests.factories import make_contract
from execution.models import Execution, OrderIntent
from execution.tests.rows import decide, enter, leave, make_execution, make_run
from marketplace.models import Contract, Template
from marketplace.ports import QUOTES, Need, Quote
from marketplace.tests.factories import TEST_DAY, make_short_straddle
from marketplace.tests.feeds import ToldFeed
from partners import permissions
from partners.models import Customer
from partners.tests.factories import (
    Tenant,
    customer_client,
    make_customer,
    make_key,
    make_tenant,
    partner_client,
    strangers,
)
from quantleap.core import clock
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

pytestmark = pytest.mark.django_db
LEG_KEYS = {
    "symbol",
    "side",
    "planned_quantity",
    "entered_quantity",
    "entry_price",
    "exited_quantity",
    "exit_price",
    "exit_reason",
}


class Scene:
    """A partner's customer with one subscription to a straddle."""

    def __init__(self) -> None:
        self.tenant: Tenant = make_tenant()
        self.template: Template = make_short_straddle()
        self.contracts: list[Contract] = [
            make_contract(strike=25_000, option_type=kind) for kind in ("CE", "PE")
        ]
        self.subscription: Subscription = make_subscription(
            self.template, self.tenant.partner, lot_multiplier=2
        )
        self.customer: Customer = self.subscription.customer

    def url(self, what: str, surface: str = "partner") -> str:
        return f"/{surface}/subscriptions/{self.subscription.public_id}/{what}"

    def day(self, days_ago: int = 0, status: str = "CLOSED", **fields: Any) -> Execution:
        """An execution ``days_ago`` days ago, both legs filled; sold out again when CLOSED."""
        run = make_run(self.template, TEST_DAY - dt.timedelta(days=days_ago))
        decide(run, self.contracts)
        execution = make_execution(run, self.subscription, status, **fields)
        for entry in enter(execution, self.contracts):
            if status == "CLOSED":
                leave(execution, entry)
        return execution


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture(params=["partner", "user"])
def ask(request: pytest.FixtureRequest, scene: Scene) -> Callable[..., Any]:
    """GET as the partner, then as the customer himself: the same answers."""
    surface: str = request.param
    client = scene.tenant.client if surface == "partner" else customer_client(scene.customer)
    return lambda what, **query: client.get(scene.url(what, surface), query)


# -- executions ---------------------------------------------------------------------------------
def test_an_execution_says_what_was_traded(scene: Scene, ask: Callable[..., Any]) -> None:
    execution = scene.day(realised_pnl=Decimal("5330.00"), exit_reason="EXIT_TIME")
    answer = ask("executions")
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert body["subscription_id"] == scene.subscription.public_id
    assert body["next_cursor"] is None
    (row,) = body["executions"]
    assert row["execution_id"] == execution.public_id
    assert (row["run"], row["trade_date"]) == (execution.run.public_id, TEST_DAY.isoformat())
    assert (row["status"], row["pnl"], row["currency"]) == ("CLOSED", 5330.0, "INR")
    assert (row["exit_reason"], row["failure"]) == ("EXIT_TIME", None)
    assert row["entry_at"].endswith("Z")
    call, put = row["legs"]
    assert set(call) == LEG_KEYS
    assert (call["side"], call["entered_quantity"], call["exited_quantity"]) == ("SELL", 130, 130)
    assert (call["entry_price"], call["exit_price"]) == (100.5, 80)
    assert put["symbol"].endswith("PE")
    assert len(row["orders"]) == 4
    order = row["orders"][0]
    assert order["tag"].startswith("Q")
    assert (order["state"], order["filled_quantity"]) == ("FILLED", 130)
    assert "." in order["sent_at"], "to the millisecond and beyond"


def test_a_failure_has_its_cause_in_words_and_the_brokers_own(
    scene: Scene, ask: Callable[..., Any]
) -> None:
    run = make_run(scene.template)
    execution = make_execution(
        run, scene.subscription, "FAILED", cause="MARGIN", message="RMS:Margin Exceeds"
    )
    enter(execution, scene.contracts, OrderIntent.State.REJECTED, cause="MARGIN", message="RMS")
    (row,) = ask("executions").json()["executions"]
    assert row["failure"] == {
        "cause": "MARGIN",
        "message": "The broker refused the order: not enough margin in the account.",
        "broker_message": "RMS:Margin Exceeds",
    }
    assert row["pnl"] is None
    assert {leg["entry_price"] for leg in row["legs"]} == {None}


def test_pages_follow_the_cursor_newest_first(scene: Scene, ask: Callable[..., Any]) -> None:
    public_ids = [scene.day(days_ago).public_id for days_ago in range(5, 0, -1)]
    seen: list[str] = []
    query: dict[str, Any] = {"per_page": 2}
    while True:
        body = ask("executions", **query).json()
        seen += [row["execution_id"] for row in body["executions"]]
        if body["next_cursor"] is None:
            break
        query["cursor"] = body["next_cursor"]
        scene_size = len(body["executions"])
        assert scene_size == 2
    assert seen == public_ids[::-1]


def test_a_page_does_not_move_when_rows_are_added(scene: Scene, ask: Callable[..., Any]) -> None:
    for days_ago in range(4, 1, -1):
        scene.day(days_ago)
    first = ask("executions", per_page=2).json()
    scene.day(1)
    second = ask("executions", per_page=2, cursor=first["next_cursor"]).json()
    both = first["executions"] + second["executions"]
    assert len({row["execution_id"] for row in both}) == 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "exe_unknown"}, "cursor"),
        ({"cursor": "\0"}, "cursor"),
        ({"page": "1"}, "page"),
        ({"per_page": "0"}, "per_page"),
        ({"per_page": "101"}, "per_page"),
        ({"sort": "x"}, "sort"),
    ],
)
def test_a_bad_query_is_named(
    scene: Scene, ask: Callable[..., Any], query: dict[str, str], field: str
) -> None:
    answer = ask("executions", **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert set(answer.json()["details"]) == {field}


def test_another_subscriptions_execution_is_no_cursor(
    scene: Scene, ask: Callable[..., Any]
) -> None:
    mine = scene.day()
    other = make_execution(mine.run, make_subscription(scene.template, make_tenant().partner))
    assert ask("executions", cursor=mine.public_id).status_code == 200
    assert ask("executions", cursor=other.public_id).status_code == 400


def count_queries(ask: Callable[..., Any], what: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert ask(what).status_code == 200
    return len(queries)


def test_the_query_count_does_not_grow(scene: Scene, ask: Callable[..., Any]) -> None:
    scene.day(1, "OPEN")
    ask("executions")  # the first request of a key notes that it was used
    counts = {what: count_queries(ask, what) for what in ("executions", "positions")}
    for days_ago in range(2, 8):
        scene.day(days_ago, "OPEN")
    for what, count in counts.items():
        assert count_queries(ask, what) == count
        assert count <= 7


# -- positions ----------------------------------------------------------------------------------
class FixedQuotes(ToldFeed):
    """A feed that knows what it is told."""

    def __init__(self) -> None:
        self.last: dict[int, Decimal] = {}
        self.old: dict[int, Quote] = {}

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        return {}

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        return {
            key: Quote(price, None, None, now, "test", now)
            for key, price in self.last.items()
            if key in contract_ids
        } | {key: quote for key, quote in self.old.items() if key in contract_ids}


@pytest.fixture
def quotes(monkeypatch: pytest.MonkeyPatch) -> FixedQuotes:
    feed = FixedQuotes()
    monkeypatch.setattr(QUOTES, "_implementation", feed)
    return feed


def test_open_legs_at_the_last_price(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    execution = scene.day(status="OPEN")
    call, put = scene.contracts
    quotes.last = {call.pk: Decimal("90.50"), put.pk: Decimal("112.00")}
    body = ask("positions").json()
    assert body["as_of"].endswith("Z")
    rows = {row["contract"][-2:]: row for row in body["positions"]}
    assert set(rows) == {"CE", "PE"}
    assert rows["CE"]["execution_id"] == execution.public_id
    assert (rows["CE"]["quantity"], rows["CE"]["average_price"]) == (-130, 100.5)
    assert (rows["CE"]["last_price"], rows["CE"]["mtm"]) == (90.5, 1300.0)
    assert (rows["PE"]["mtm"], body["total_mtm"]) == (-1495.0, -195.0)
    assert (rows["CE"]["stop_price"], rows["CE"]["target_price"]) == (125.0, None)


def test_without_a_quote_there_is_no_price_and_no_total(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    scene.day(status="OPEN")
    quotes.last = {scene.contracts[0].pk: Decimal(90)}
    body = ask("positions").json()
    rows = {row["contract"][-2:]: row for row in body["positions"]}
    assert (rows["PE"]["last_price"], rows["PE"]["mtm"], body["total_mtm"]) == (None, None, None)
    assert rows["CE"]["mtm"] == 1365.0


def test_a_trade_of_friday_is_nobodys_profit(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    """A last price of Friday under a young book: the middle where it has two sides, else null."""
    scene.day(status="OPEN")
    now, friday = clock.now(), clock.now() - dt.timedelta(days=3)
    call, put = scene.contracts
    low, high = Decimal(31), Decimal("33.50")
    quotes.old = {
        call.pk: Quote(Decimal("12.40"), low, high, now, "test", friday),
        put.pk: Quote(Decimal("12.40"), low, None, now, "test", friday),
    }
    body = ask("positions").json()
    rows = {row["contract"][-2:]: row for row in body["positions"]}
    assert (rows["CE"]["last_price"], rows["CE"]["mtm"]) == (32.25, 8872.5)
    assert (rows["PE"]["last_price"], rows["PE"]["mtm"], body["total_mtm"]) == (None, None, None)


def test_what_is_closed_is_not_open(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    scene.day(1, "CLOSED")
    execution = scene.day(0, "EXITING")
    call, put = execution.intents.order_by("leg_index")
    leave(execution, call, reason="STOP")
    execution.closed_outside = {put.leg_key: 65}
    execution.save()
    body = ask("positions").json()
    (row,) = body["positions"]
    assert row["contract"].endswith("PE")
    assert row["quantity"] == -65


def test_nothing_open_is_an_empty_list_and_a_zero(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    body = ask("positions").json()
    assert (body["positions"], body["total_mtm"]) == ([], 0)


def test_a_level_that_no_price_reaches_is_not_shown(
    scene: Scene, ask: Callable[..., Any], quotes: FixedQuotes
) -> None:
    execution = scene.day(status="OPEN")
    execution.run.watches.update(stop_price=Decimal("-5.00"), target_price=Decimal(0))
    assert {row["stop_price"] for row in ask("positions").json()["positions"]} == {None}


# -- who may ------------------------------------------------------------------------------------
def scrubbed(answer: Any) -> tuple[int, dict[str, Any]]:
    body = dict(answer.json())
    body.pop("request_id")
    return answer.status_code, body


@pytest.mark.parametrize("what", ["executions", "positions"])
def test_strangers_and_unknown_ids_get_the_same_404(scene: Scene, what: str) -> None:
    scene.day()
    unknown = scrubbed(scene.tenant.client.get(f"/partner/subscriptions/sub_unknown/{what}"))
    assert unknown[0] == 404
    for stranger in strangers(scene.tenant):
        assert scrubbed(stranger.client.get(scene.url(what))) == unknown
    other = customer_client(make_customer(scene.tenant.partner))
    assert scrubbed(other.get(scene.url(what, "user"))) == unknown
    assert scrubbed(scene.tenant.client.get(f"/partner/subscriptions/a%00b/{what}")) == unknown


@pytest.mark.parametrize("what", ["executions", "positions"])
def test_the_keys_permission_is_asked(scene: Scene, what: str) -> None:
    blind = [name for name in permissions.ALL if name != permissions.SUBSCRIPTIONS_READ]
    client = partner_client(make_key(scene.tenant.partner, permissions=blind))
    answer = client.get(scene.url(what))
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert permissions.SUBSCRIPTIONS_READ in answer.json()["message"]
    user = customer_client(scene.customer)
    assert user.get(scene.url(what)).status_code == 401
    assert scene.tenant.client.get(scene.url(what, "user")).status_code == 401


def test_last_executions_of_a_subscription_are_the_same_rows(scene: Scene) -> None:
    execution = scene.day()
    url = f"/partner/subscriptions/{scene.subscription.public_id}"
    body = scene.tenant.client.get(url).json()
    listed = scene.tenant.client.get(scene.url("executions")).json()
    assert [row["execution_id"] for row in body["last_executions"]] == [execution.public_id]
    assert [row["execution_id"] for row in listed["executions"]] == [execution.public_id]
