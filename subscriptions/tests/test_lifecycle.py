"""The transition table against a model written from api.md section 7, and the service against it.

The model does not share code or form with the table: it is the specification's sentences.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from marketplace.models import TemplateStats
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import lifecycle, services
from subscriptions.errors import TransitionRefused
from subscriptions.lifecycle import Action, Verdict, refusal, sources, verdict
from subscriptions.models import Subscription
from subscriptions.tests.factories import make_subscription

actions = st.sampled_from(list(Action))
people = st.sampled_from(lifecycle.REASONS)


class Model:
    """A subscription as the specification tells it."""

    def __init__(self) -> None:
        self.live = True
        self.paused_by: str | None = None

    def ask(self, action: Action, who: str, explained: bool) -> str:
        """ "changed", "same" or "refused"; changes itself accordingly."""
        if action is Action.CANCEL:
            was_live, self.live, self.paused_by = self.live, False, None
            return "changed" if was_live else "same"
        if not self.live:
            return "refused"
        if action is Action.PAUSE:
            if self.paused_by:
                return "same"
            self.paused_by = who
            return "changed"
        if not self.paused_by:
            return "same"
        own = self.paused_by == who
        each_others = {self.paused_by, who} == {"USER", "PARTNER"} and explained
        if not (own or each_others):
            return "refused"
        self.paused_by = None
        return "changed"


class Lifecycle(RuleBasedStateMachine):
    """Random calls by random people; the row moves only where the table lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.row = ("ACTIVE", "")

    @initialize()
    def subscribed(self) -> None:
        self.row = ("ACTIVE", "")

    @rule(action=actions, who=people, explained=st.booleans())
    def ask(self, action: Action, who: str, explained: bool) -> None:
        expected = self.model.ask(action, who, explained)
        status, reason = self.row
        decided = verdict(action, who, explained=explained, status=status, status_reason=reason)
        assert {"changed": "CHANGE", "same": "NOTHING", "refused": "REFUSE"}[expected] == decided
        moves = [s for s in sources(action, who, explained=explained) if s.matches(*self.row)]
        assert bool(moves) == (decided is Verdict.CHANGE)
        if moves:
            self.row = (action.value, "" if action is Action.RESUME else who)
        elif decided is Verdict.REFUSE:
            assert refusal(action, who, status=status, status_reason=reason)

    @invariant()
    def both_agree(self) -> None:
        status, reason = self.row
        assert (status == "CANCELLED") == (not self.model.live)
        assert (status == "PAUSED") == (self.model.paused_by is not None)
        if status == "PAUSED":
            assert reason == self.model.paused_by


TestLifecycle = Lifecycle.TestCase


@pytest.mark.django_db
def test_the_service_does_what_the_table_says_in_every_case() -> None:
    """Every status and reason x every call: the row, the audit log and the events agree."""
    load_reference_data()
    partner = make_partner()
    template = make_template()
    states = [("ACTIVE", "")] + [
        (status, reason) for status in ("PAUSED", "CANCELLED") for reason in lifecycle.REASONS
    ]
    calls = list(itertools.product(Action, ("USER", "PARTNER", "ADMIN"), ("", "why")))
    subscription = make_subscription(template, partner)
    TemplateStats.objects.update(subscriber_count=len(states) * len(calls))
    rows = Subscription.objects.filter(pk=subscription.pk)
    later = TEST_NOW + dt.timedelta(days=1)
    tried = 0
    for (status, reason), (action, who, note) in itertools.product(states, calls):
        rows.update(
            status=status,
            status_reason=reason,
            status_note="before",
            status_changed_at=TEST_NOW,
            cancelled_at=TEST_NOW if status == "CANCELLED" else None,
        )
        before = rows.values().get()
        told = (AuditEntry.objects.count(), OutboxEvent.objects.count())
        decided = verdict(action, who, explained=bool(note), status=status, status_reason=reason)
        call: dict[str, Any] = {
            "PAUSE": services.pause,
            "RESUME": services.resume,
            "CANCEL": services.cancel,
        }
        arguments: dict[str, Any] = {
            "subscription_id": subscription.pk,
            "actor": SYSTEM,
            "reason": who,
            "note": note,
            "now": later,
        }
        if decided is Verdict.REFUSE:
            with pytest.raises(TransitionRefused) as refused:
                call[action.name](**arguments)
            assert refused.value.extra == {"status": status, "status_reason": reason or None}
        else:
            result = call[action.name](**arguments)
            assert result.changed == (decided is Verdict.CHANGE)
        after = rows.values().get()
        steps = 1 if decided is Verdict.CHANGE else 0
        assert (AuditEntry.objects.count(), OutboxEvent.objects.count()) == (
            told[0] + steps,
            told[1] + steps,
        )
        if not steps:
            assert after == before
        else:
            assert after["status"] == action.value
            assert after["status_reason"] == ("" if action is Action.RESUME else who)
            assert after["status_note"] == note
            assert after["status_changed_at"] == later
            assert (after["cancelled_at"] == later) == (action is Action.CANCEL)
        tried += 1
    assert tried == 11 * 18


def test_refusals_say_who_may() -> None:
    def words(who: str, reason: str, status: str = "PAUSED") -> str:
        return refusal(Action.RESUME, who, status=status, status_reason=reason)

    assert words("USER", "PARTNER") == "It was paused by the partner: say a reason to resume it."
    assert words("PARTNER", "USER") == "It was paused by the customer: say a reason to resume it."
    assert words("USER", "ADMIN") == "It was paused by staff and can be resumed only from there."
    assert "failed payment" in words("PARTNER", "PAYMENT_FAILED")
    assert words("USER", "", "CANCELLED") == "The subscription is cancelled, which is final."
