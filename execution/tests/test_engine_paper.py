"""Days of the test environment: the same engine, and nothing of it reaches a broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from execution import lifecycle
from execution.engine.wire.paper_channel import PaperChannel
from execution.models import Execution, OrderIntent
from execution.state import LiveIntent
from execution.tests.factories import make_accounts, make_partner, subscribe_accounts
from execution.tests.installation import Installation, assert_filled, runs_closed, wait_until
from marketplace.tests.factories import make_iron_condor

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def subscribe(installation: Installation, hold: float) -> None:
    """Two test customers, never logged in anywhere."""
    template = make_iron_condor(environment="test", strategy=installation.entry_in(9, hold))
    accounts = make_accounts(2, partner=make_partner(), environment="test")
    subscribe_accounts(template, accounts)


def test_a_killed_paper_days_exits_were_unknown_for_ever(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: the process was killed when its exits had left, and nobody had noted what became of
    them."""
    subscribe(installation, 6)
    place = PaperChannel._place

    def swallow(channel: PaperChannel, intent: LiveIntent, now: float) -> None:
        if intent.purpose == lifecycle.ENTRY:
            place(channel, intent, now)
        else:
            channel._on_sent(intent, now)  # and then the process was gone

    monkeypatch.setattr(PaperChannel, "_place", swallow)
    first = executor()
    wait_until(lambda: OrderIntent.objects.filter(purpose="EXIT", state="SENDING").exists(), 40)
    first.stop()
    monkeypatch.setattr(PaperChannel, "_place", place)
    executor()
    wait_until(runs_closed, 60)
    assert installation.control.orders() == []
    assert set(Execution.objects.values_list("status", flat=True)) == {"CLOSED"}
    entries = OrderIntent.objects.filter(purpose="ENTRY")
    assert entries.count() == 8
    assert_filled(entries)
    exits = OrderIntent.objects.filter(purpose="EXIT", state="FILLED")
    assert exits.count() == 8, "each leg left once"
