"""Subscribers in bulk and single entries for a measurement. Import it after ``django.setup()``."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from brokers.models import BrokerAccount, BrokerInstrument
from brokers.tests.factories import make_feed
from execution.models import Execution, OrderIntent, Run
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from marketplace.models import Template
from marketplace.tests.factories import leg_spec, load_test_contracts, make_template
from quantleap.core import clock
from subscriptions.models import Allocation

HOLD: Final = dt.timedelta(seconds=8)


def open_market() -> None:
    """Create contracts around the sink's index level with Kite's names, and a feed account."""
    day = clock.ist_date(clock.now())
    contracts = load_test_contracts(day, underlyings=("NIFTY",))
    BrokerInstrument.objects.bulk_create(
        BrokerInstrument(
            broker="zerodha",
            contract=contract,
            exchange="NFO",
            symbol=f"NIFTY{contract.expiry:%y%m%d}{contract.strike:.0f}{contract.option_type}",
            token=contract.exchange_token,
            last_seen=day,
        )
        for contract in contracts
    )
    make_feed(now=clock.now())


def make_subscribers(count: int, prefix: str = "C") -> list[BrokerAccount]:
    """``count`` customers with one logged-in Kite account each."""
    accounts = make_accounts(
        count, partner=make_partner(), brokers=("zerodha",), prefix=prefix, now=clock.now()
    )
    log_in(accounts, lambda _broker, client_id: f"token{client_id}", clock.now())
    return accounts


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry second: the template, its entry (our clock and unix seconds), and its exit."""

    template: Template
    entry_at: dt.datetime
    due: float


def schedule(
    accounts: Sequence[BrokerAccount],
    lead: float,
    *,
    orders: int = 1,
    legs: Sequence[tuple[str, str, str]] = (("SELL", "CE", "OTM4"),),
    hold: float = HOLD.total_seconds(),
) -> Entry:
    """One short option for every account, entering at the first whole second ``lead`` s ahead.

    ``orders`` > 1 slices each account's quantity into that many orders. ``legs`` are side, type and
    moneyness, ``hold`` the seconds until the exit.
    """
    rounded = clock.now() + dt.timedelta(seconds=lead + 1)
    entry_at = rounded.replace(microsecond=0)
    template = make_template(
        legs=[leg_spec(*leg) for leg in legs],
        strategy={
            "entry_time": clock.to_ist(entry_at).time(),
            "exit_time": clock.to_ist(entry_at + dt.timedelta(seconds=hold)).time(),
        },
        fee=None,
    )
    subscriptions = subscribe_accounts(template, accounts, multipliers=(Decimal(orders),))
    if orders > 1:
        Allocation.objects.filter(subscription__in=subscriptions).update(max_lots_per_order=1)
    return Entry(template, entry_at, entry_at.timestamp() - clock.offset_seconds())


def wait_for_end(entry: Entry, seconds: float) -> Run:
    """The run of an entry once all its executions are over. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        run = Run.objects.filter(template=entry.template).first()
        if run is not None and not (
            Execution.objects.filter(run=run).exclude(status__in=Execution.TERMINAL).exists()
        ):
            return run
        if time.monotonic() > deadline:
            raise TimeoutError(f"run not over in {seconds:g} s: {outcome(run)}")
        time.sleep(0.2)


def outcome(run: Run | None) -> dict[str, Any]:
    """Counts of a run's executions and intents by state."""
    if run is None:
        return {}
    return {
        "run": run.status,
        "cause": run.cause,
        "executions": _counts(Execution.objects.filter(run=run).values_list("status", flat=True)),
        "entries": _counts(_entries(run).values_list("state", flat=True)),
        "exits": _counts(
            OrderIntent.objects.filter(run=run)
            .exclude(purpose="ENTRY")
            .values_list("state", flat=True)
        ),
        "causes": _counts(
            OrderIntent.objects.filter(run=run).exclude(cause="").values_list("cause", flat=True)
        ),
    }


def _entries(run: Run) -> Any:
    return OrderIntent.objects.filter(run=run, purpose="ENTRY")


def _counts(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def entry_tags(run: Run) -> set[str]:
    """Tags of a run's entry orders."""
    return set(_entries(run).values_list("tag", flat=True))


def sent_instants(run: Run) -> list[float]:
    """When each entry order was sent according to our database, in real unix seconds."""
    offset = clock.offset_seconds()
    sent = _entries(run).exclude(sent_at=None).values_list("sent_at", flat=True)
    return [at.timestamp() - offset for at in sent]
