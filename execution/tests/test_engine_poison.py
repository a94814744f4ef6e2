"""One account's figures that no column holds, in a running executor: the others trade on."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from execution.engine.database import bisection, writer
from execution.models import Execution, OrderIntent
from execution.state import LiveIntent
from execution.tests.installation import Installation, wait_until
from marketplace.tests.factories import make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Accounts whose fills are written at 1e8 rupees a unit, as a broker's book once said.

    The adapters refuse such a row now; this is what is left when one of them does not.
    """
    accounts: set[int] = set()
    row = writer._result_row

    def at_1e8(intent: LiveIntent) -> tuple[Any, ...]:
        values = list(row(intent))
        if intent.account_id in accounts and intent.filled_quantity:
            values[list(writer._RESULT_COLUMNS).index("average_price")] = Decimal(100_000_000)
        return tuple(values)

    monkeypatch.setattr(writer, "_result_row", at_1e8)
    return accounts


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the database refused, as it is noticed."""
    heard: list[str] = []
    words = bisection.first_line

    def hear(error: Exception) -> str:
        heard.append(words(error))
        return heard[-1]

    monkeypatch.setattr(bisection, "first_line", hear)
    return heard


def test_one_average_price_of_1e8_spoils_no_others_fills(
    installation: Installation, executor: Callable[[], Any], poisoned: set[int], refusals: list[str]
) -> None:
    """Only the account with the absurd price needs a person, and in the end it is flat, too."""
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 8)), 6)
    poisoned.add(accounts[2].pk)
    executor()
    others = Execution.objects.exclude(account=accounts[2])
    wait_until(lambda: others.filter(status="CLOSED").count() == 5, 60)
    entries = OrderIntent.objects.filter(purpose="ENTRY").exclude(account=accounts[2])
    assert {entry.state for entry in entries} == {"FILLED"}
    culprit = Execution.objects.get(account=accounts[2])
    assert culprit.needs_attention
    assert not others.filter(needs_attention=True).exists()
    # Refused for each of its fills, and not in every round for ever.
    assert 0 < len(refusals) < 20, refusals
    positions = installation.control.ask("GET", "/positions")["positions"]
    assert all(p["quantity"] == 0 for p in positions), "the culprit's position is left too"
