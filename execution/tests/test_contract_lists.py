"""A contract list that cannot be right: nothing is sent on it, and staff read which and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from decimal import Decimal

import pytest

from brokers.tests.factories import make_contract
from execution.descriptions import CAUSES
from execution.engine.database import leases
from execution.engine.database.entry_writer import miss_armed
from execution.engine.database.loader import load_executions
from execution.engine.entries.leg_resolution import NoQuote, resolve_legs
from execution.models import Execution, Run
from execution.selectors import execution_summary
from execution.tests.inmemory import live_run
from execution.tests.leaserows import T
from execution.tests.rows import make_execution
from marketplace.models import FreezeQuantity, Underlying
from marketplace.ports import QUOTES, Need, Quote
from marketplace.tests.factories import leg_spec, strategy_spec
from marketplace.tests.feeds import ToldFeed
from quantleap.core.models import OutboxEvent
from subscriptions.models import Subscription

pytestmark = pytest.mark.django_db

DAY = dt.date(2026, 8, 18)
NOW = dt.datetime(2026, 8, 18, 3, 49, 58, tzinfo=dt.UTC)
NEXT, WEEK_AFTER, MONTHLY = dt.date(2026, 8, 20), dt.date(2026, 8, 21), dt.date(2026, 8, 27)


class Feed(ToldFeed):
    """SENSEX at 81,559, and 100 rupees for whatever is asked."""

    def _quote(self, last: str, now: dt.datetime) -> Quote:
        return Quote(last=Decimal(last), bid=None, ask=None, at=now, source="test", traded_at=now)

    def spot(self, underlyings: Collection[str], *, now: dt.datetime) -> Mapping[str, Quote]:
        return {name: self._quote("81559", now) for name in underlyings}

    def quotes(
        self, contract_ids: Collection[int], *, now: dt.datetime, need: Need = Need.PAGE
    ) -> Mapping[int, Quote]:
        return {pk: self._quote("100", now) for pk in contract_ids}


@pytest.fixture(autouse=True)
def _feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QUOTES, "_implementation", Feed())


def listed(expiry: dt.date, strikes: Collection[int], lot: int) -> None:
    for strike in strikes:
        make_contract("SENSEX", expiry, strike, "CE", lot)


def resolve() -> dict[str, tuple[int, str]]:
    """Lot size and label by leg of an at-the-money weekly call."""
    FreezeQuantity.objects.get_or_create(
        underlying=Underlying.objects.get(symbol="SENSEX"),
        effective_from=dt.date(2026, 1, 1),
        defaults={"quantity": 1000, "source": "test"},
    )
    strategy = strategy_spec([leg_spec("SELL", "CE", "ATM")], underlying="SENSEX")
    resolved = resolve_legs(live_run(strategy, trade_date=DAY), now=NOW, max_age=2.0)
    return {key: (leg.lot_size, leg.label) for key, leg in resolved.items()}


def test_an_honest_list_is_traded() -> None:
    listed(NEXT, range(81_200, 82_000, 100), 10)
    listed(MONTHLY, range(81_250, 82_000, 100), 10)
    assert [lot for lot, _ in resolve().values()] == [10]


def test_a_nearer_expiry_of_another_product_is_not_traded() -> None:
    """SENSEX 50 listed as SENSEX, a day before: 27450 was the at-the-money call."""
    listed(NEXT, range(27_200, 27_500, 50), 25)
    listed(WEEK_AFTER, range(81_200, 82_000, 100), 10)
    listed(MONTHLY, range(81_250, 82_000, 100), 10)
    with pytest.raises(NoQuote) as refused:
        resolve()
    assert refused.value.cause == "CONTRACT_LIST"
    assert refused.value.message.startswith("SENSEX 20 Aug 2026 CE: the strikes from 27200 to")
    assert "Import today's contract list again" in refused.value.message


def test_two_products_on_one_day_are_not_traded() -> None:
    listed(NEXT, range(81_200, 82_000, 100), 10)
    listed(NEXT, range(27_200, 27_500, 50), 25)
    listed(MONTHLY, range(81_250, 82_000, 100), 10)
    with pytest.raises(NoQuote, match="27200 has a lot of 25 units"):
        resolve()


def test_staff_read_why_a_run_was_missed_and_partners_the_cause(
    run: Run, subscription: Subscription
) -> None:
    leases.ensure_rows(8)
    tokens = {c.shard: c.token for c in leases.claim(owner="e", wanted=8, ttl=3600)}
    row = make_execution(run, subscription, "ARMED", committed_at=None)
    held = live_run(id=run.pk, public_id=run.public_id)
    armed = load_executions({run.pk: held}, list(tokens), statuses=("ARMED",))
    said = "SENSEX 20 Aug 2026 CE: the strikes do not straddle the index"
    changed = miss_armed(
        run.pk, armed, "CONTRACT_LIST", owner="e", tokens=tokens, now=T, message=said
    )
    assert changed == {row.pk}
    row = Execution.objects.get(pk=row.pk)
    assert (row.status, row.cause, row.message) == ("MISSED", "CONTRACT_LIST", said)
    assert execution_summary(row)["failure"] == {
        "cause": "CONTRACT_LIST",
        "message": CAUSES["CONTRACT_LIST"],
        "broker_message": "",
    }
    payload = OutboxEvent.objects.get(type="execution.missed").payload
    assert payload["broker_response"] == {"code": "CONTRACT_LIST", "message": ""}
