"""One person's account at two partners, or with two strategies in it, is one account at the broker.

Seen: two books and two paces of one account, and each dropped the other's exits, because the
broker's net was not what either of them tracked. Judged at the broker's own book.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from brokers import sealed_credentials
from brokers.models import BrokerAccount
from brokers.registry import get_adapter
from execution.models import Execution, OrderIntent
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.models import Template
from marketplace.tests.factories import leg_spec, make_short_straddle, make_template
from quantleap.core import clock

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def make_long_straddle(**fields: Any) -> Template:
    """What a short straddle of the same second sells, bought."""
    strategy = {"name": "Long straddle", "move_to_cost": "OFF", **fields.pop("strategy", {})}
    legs = (leg_spec("BUY", "CE"), leg_spec("BUY", "PE"))
    return make_template(legs=legs, strategy=strategy, name="NIFTY Long Straddle", **fields)


def log_in_anew(installation: Installation, slug: str, account: BrokerAccount) -> str:
    """A session of the partner's own app; Zerodha ends the one that the app had before."""
    session = {"broker": account.broker, "client_id": account.client_id}
    answer = installation.control.ask("POST", "/sessions", api_key=f"app-of-{slug}", **session)
    return str(answer["access_token"])


def keep(account: BrokerAccount, token: str) -> None:
    """What a login stores."""
    account.access_token = sealed_credentials.seal(account, "access_token", token)
    account.token_expires_at = get_adapter(account.broker).token_expiry(clock.now())
    account.last_login_at = clock.now()
    account.save()


def at_partner(
    installation: Installation, slug: str, count: int, brokers: Sequence[str] = ("zebu", "zerodha")
) -> list[BrokerAccount]:
    """The same ``count`` persons as customers of a partner, logged in by that partner's own app."""
    accounts = make_accounts(count, partner=make_partner(slug), brokers=brokers)
    for account in accounts:
        account.api_key = sealed_credentials.seal(account, "api_key", f"app-of-{slug}")
        keep(account, log_in_anew(installation, slug, account))
    return accounts


def times(start: dt.time, **seconds: float) -> dict[str, dt.time]:
    """Entry and exit times so many seconds after ``start``."""
    day = dt.date(2026, 9, 8)
    return {
        f"{name}_time": (dt.datetime.combine(day, start) + dt.timedelta(seconds=after)).time()
        for name, after in seconds.items()
    }


def life_of_orders(orders: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """Client, symbol, side, begin and end of every order at the broker."""
    return [
        (o["client_id"], o["symbol"], o["side"], o["received_at"], o["updated_at"]) for o in orders
    ]


def self_trades(orders: Sequence[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Pairs of opposite orders of one account in one contract that were alive together."""
    by_place: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for client, symbol, side, begin, end in life_of_orders(orders):
        by_place[client, symbol].append((side, begin, end))
    return [
        (buy, sell)
        for alive in by_place.values()
        for buy in alive
        for sell in alive
        if buy[0] == "BUY" and sell[0] == "SELL" and buy[1] < sell[2] and sell[1] < buy[2]
    ]


def ends(accounts: Sequence[BrokerAccount]) -> set[tuple[str, str, bool]]:
    executions = Execution.objects.filter(account__in=accounts)
    return {
        (execution.status, execution.cause, execution.needs_attention) for execution in executions
    }


def test_a_person_at_two_partners_lost_both_exits(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """Two persons sell here what they buy there, twice as much; two others sell here and there.

    Seen: the two rows had two books. Of those who are opposite, the first to leave saw a net that
    was not theirs, took the position for closed outside, and stayed in it.
    """
    here, there = at_partner(installation, "zebu", 4), at_partner(installation, "other", 4)
    entry = installation.entry_in(10, 1)["entry_time"]
    short = make_short_straddle(stop_pct=None, strategy=times(entry, entry=0, exit=6))
    long = make_long_straddle(strategy=times(entry, entry=2, exit=9))
    later_short = make_short_straddle(stop_pct=None, strategy=times(entry, entry=2, exit=9))
    subscribe_accounts(short, here)
    subscribe_accounts(long, there[:2], multipliers=[Decimal(2)])
    subscribe_accounts(later_short, there[2:])
    executor()
    executor()
    wait_until(runs_closed, 90)
    assert ends([*here, *there]) == {("CLOSED", "", False)}
    assert open_at_brokers(installation.control) == []
    for account in (*here, *there):
        filled = OrderIntent.objects.filter(account=account, state="FILLED")
        assert filled.filter(purpose="ENTRY").count() == 2
        net: dict[str, int] = defaultdict(int)
        for intent in filled:
            net[intent.symbol] += intent.filled_quantity * (1 if intent.side == "BUY" else -1)
        assert set(net.values()) == {0}, "each row left what it had entered"
    assert self_trades(installation.control.orders()) == []


def test_two_strategies_of_one_customer_make_no_self_trade(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """The two are opposite in one contract, and enter and leave at the same seconds; the net is
    zero at the broker, and both exits leave."""
    accounts = at_partner(installation, "zebu", 2)
    when = installation.entry_in(10, 5)
    for template in (
        make_short_straddle(stop_pct=None, strategy=when),
        make_long_straddle(strategy=when),
    ):
        subscribe_accounts(template, accounts)
    executor()
    wait_until(runs_closed, 90)
    assert ends(accounts) == {("CLOSED", "", False)}
    exits = OrderIntent.objects.filter(purpose="EXIT", state="FILLED")
    assert exits.count() == 2 * 2 * len(accounts)
    assert open_at_brokers(installation.control) == []
    assert self_trades(installation.control.orders()) == []


def test_when_one_session_dies_the_other_reads_the_book(
    installation: Installation, executor: Callable[[], Any]
) -> None:
    """One book holds the orders of both rows. Whoever is logged in leaves; the other waits."""
    here, there = (at_partner(installation, slug, 2, ("zerodha",)) for slug in ("zebu", "other"))
    when = installation.entry_in(10, 8)
    subscribe_accounts(make_short_straddle(stop_pct=None, strategy=when), here)
    subscribe_accounts(make_short_straddle(stop_pct=None, strategy=when), there)
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").count() == 4, 40)
    fresh = {account.pk: log_in_anew(installation, "zebu", account) for account in here}
    wait_until(lambda: Execution.objects.filter(status="CLOSED").count() == 2, 40)
    assert ends(there) == {("CLOSED", "", False)}
    wait_until(lambda: Execution.objects.filter(needs_attention=True).count() == 2, 20)
    assert ends(here) == {("EXITING", "SESSION_EXPIRED", True)}
    for account in here:
        keep(account, fresh[account.pk])
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
