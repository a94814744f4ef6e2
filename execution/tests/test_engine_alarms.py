"""Alarms of a running executor whose broker says nothing: named in time, over by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from execution.alarms import PROMISES
from execution.models import Alarm, Execution, OrderIntent
from execution.tests.installation import Installation, open_at_brokers, runs_closed, wait_until
from marketplace.tests.factories import make_short_straddle

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def causes(account: Any) -> set[str]:
    """Causes of the open alarms of an account and its executions."""
    mine = Alarm.objects.filter(Alarm.OPEN)
    alarms = mine.filter(execution__account=account) | mine.filter(account=account)
    return set(alarms.values_list("cause", flat=True))


def test_a_book_that_never_answers_was_a_silence_for_ever(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: after a 504 an order was UNKNOWN for ten minutes without an alarm. The neighbour is the
    control."""
    for cause in ("ENTRY_UNKNOWN", "BOOK_UNREAD"):
        monkeypatch.setitem(PROMISES, cause, 2.0)
    accounts = installation.subscribe(make_short_straddle(strategy=installation.entry_in(9, 12)), 2)
    neighbour, silent = accounts
    # Order updates would tell of the fills without any book.
    installation.control.ask("POST", "/manner", updates="silent")
    installation.strike(silent, "status_after_accept", op="place", status=504)
    installation.strike(silent, "html_502", op="book")
    executor()
    wait_until(lambda: {"ENTRY_UNKNOWN", "BOOK_UNREAD"} <= causes(silent), 40)
    assert set(OrderIntent.objects.filter(account=silent).values_list("state", flat=True)) <= {
        "UNKNOWN",
        "PLANNED",
    }
    assert causes(neighbour) == set()
    installation.control.ask("DELETE", "/faults")  # the broker is back
    wait_until(runs_closed, 60)
    assert open_at_brokers(installation.control) == []
    ended = Alarm.objects.get(cause="BOOK_UNREAD")
    assert (ended.settled_at, ended.cleared_by) == (None, "it was read")
    facts = Alarm.objects.filter(cause="ENTRY_UNKNOWN").values_list("cleared_by", flat=True)
    assert all(fact.startswith("order ") for fact in facts)


def test_a_position_past_its_exit_with_no_witness_is_named(
    installation: Installation, executor: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: 48 and 120 positions were open past the exit time, silently. The alarm ends when the
    position is closed."""
    monkeypatch.setitem(PROMISES, "PAST_EXIT", 2.0)
    (account,) = installation.subscribe(
        make_short_straddle(strategy=installation.entry_in(9, 6)), 1
    )
    executor()
    wait_until(lambda: Execution.objects.filter(status="OPEN").exists(), 40)
    for operation in ("positions", "book"):
        installation.strike(account, "html_502", op=operation)
    wait_until(lambda: {"NO_WITNESS", "PAST_EXIT"} <= causes(account), 40)
    words = Alarm.objects.get(cause="PAST_EXIT").words
    assert words.count("units of") == 2
    installation.control.ask("DELETE", "/faults")
    wait_until(runs_closed, 40)
    assert open_at_brokers(installation.control) == []
    assert causes(account) == set()
