"""Rules of the trading day that are broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.base import SendResult
from execution import lifecycle, price_changes, transitions
from execution.state import LiveIntent


def an_unknown_change_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """a4b: a change that nobody answered counts as an order that is gone, and a new one follows."""

    def note_answer(intent: LiveIntent, number: int, result: SendResult, **when: Any) -> bool:
        news = fine(intent, number, result, **when)
        if news and intent.changes[number].state == price_changes.UNKNOWN:
            transitions.finish(intent, lifecycle.CANCELLED, when["at"], when["now_mono"])
        return news

    fine = price_changes.note_answer
    monkeypatch.setattr(price_changes, "note_answer", note_answer)
    # What then is found resting would keep the next exit here, whatever ended it in our eyes.
    monkeypatch.setattr(LiveIntent, "adrift", 0)
