"""Who may pause, resume and cancel against a model written from docs/subscriptions.md.

The model shares neither code nor form with the rules; the service is compared with them after.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketplace.models import TemplateStats
from marketplace.tests.factories import TEST_NOW, load_reference_data, make_template
from partners.tests.factories import make_partner
from quantleap.core.audit import SYSTEM
from quantleap.core.models import AuditEntry, OutboxEvent
from subscriptions import lifecycle, services
from subscriptions.errors import TransitionRefused
from subscriptions.lifecycle import HOLDERS, Action, Verdict, liftable, refusal, strongest, verdict
from subscriptions.models import Hold, Subscription
from subscriptions.tests.factories import make_subscription

actions = st.sampled_from(list(Action))
people = st.sampled_from(HOLDERS)


def test_the_models_offer_what_the_rules_name() -> None:
    assert set(Hold.Holder.values) == set(HOLDERS)
    assert set(Subscription.Reason.values) == set(lifecycle.REASONS)


class Model:
    """A subscription as docs/subscriptions.md has it: everybody has a hold of their own."""

    def __init__(self) -> None:
        self.live = True
        self.held_by: dict[str, bool] = dict.fromkeys(HOLDERS, False)
        self.customer_held = False

    @property
    def trades(self) -> bool:
        return self.live and not self.customer_held and not any(self.held_by.values())

    def ask(self, action: Action, who: str, explained: bool) -> str:
        """ "changed", "same" or "refused"; changes itself accordingly."""
        if action is Action.CANCEL:
            was_live, self.live = self.live, False
            return "changed" if was_live else "same"
        if not self.live:
            return "refused"
        if action is Action.PAUSE:
            was, self.held_by[who] = self.held_by[who], True
            return "same" if was else "changed"
        if self.trades:
            return "same"
        lifted = self.held_by[who]
        self.held_by[who] = False
        other = {"USER": "PARTNER", "PARTNER": "USER"}.get(who)
        if other and explained:
            lifted = lifted or self.held_by[other]
            self.held_by[other] = False
        return "changed" if lifted else "refused"


class Lifecycle(RuleBasedStateMachine):
    """Random calls by random people; the holds become only what the rules let them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.cancelled = False
        self.own: set[str] = set()
        self.customer_held = False

    @rule(held=st.booleans())
    def hold_the_customer(self, held: bool) -> None:
        self.customer_held = self.model.customer_held = held

    @rule(action=actions, who=people, explained=st.booleans())
    def ask(self, action: Action, who: str, explained: bool) -> None:
        decided = verdict(
            action,
            who,
            explained=explained,
            cancelled=self.cancelled,
            own=self.own,
            held=bool(self.own) or self.customer_held,
        )
        expected = self.model.ask(action, who, explained)
        assert {"changed": "CHANGE", "same": "NOTHING", "refused": "REFUSE"}[expected] == decided
        if decided is Verdict.REFUSE:
            assert refusal(action, who, cancelled=self.cancelled, reason=strongest(self.own))
        if decided is not Verdict.CHANGE:
            return
        if action is Action.CANCEL:
            self.cancelled = True
        elif action is Action.PAUSE:
            self.own.add(who)
        else:
            self.own -= liftable(who, explained=explained)

    @invariant()
    def both_agree(self) -> None:
        trades = not self.cancelled and not self.own and not self.customer_held
        assert trades == self.model.trades
        assert self.own == {who for who, held in self.model.held_by.items() if held}

    @invariant()
    def the_strongest_is_shown(self) -> None:
        order = ["ADMIN", "PARTNER_SUSPENDED", "PAYMENT_FAILED", "PARTNER", "USER"]
        assert strongest(self.own) == next((who for who in order if who in self.own), "")


TestLifecycle = Lifecycle.TestCase


def held_by(subscription: Subscription) -> set[str]:
    return set(Hold.objects.filter(lifted_at__isnull=True).values_list("holder", flat=True))


@pytest.mark.django_db
def test_the_service_does_what_the_rules_say_in_every_case() -> None:
    """Every set of holds x every call: the row, the holds, the audit log and the events agree."""
    load_reference_data()
    partner = make_partner()
    template = make_template()
    # a partner's suspension is a hold of the partner, never of one subscription
    holders = [who for who in HOLDERS if who != lifecycle.PARTNER_SUSPENDED]
    sets = [
        set(chosen)
        for size in range(len(holders) + 1)
        for chosen in itertools.combinations(holders, size)
    ]
    calls = list(itertools.product(Action, ("USER", "PARTNER", "ADMIN"), ("", "why")))
    subscription = make_subscription(template, partner)
    TemplateStats.objects.update(subscriber_count=len(sets) * len(calls) * 2)
    rows = Subscription.objects.filter(pk=subscription.pk)
    later = TEST_NOW + dt.timedelta(days=1)
    call: dict[str, Any] = {
        "PAUSE": services.pause,
        "RESUME": services.resume,
        "CANCEL": services.cancel,
    }
    tried = 0
    for cancelled, own, (action, who, note) in itertools.product((False, True), sets, calls):
        Hold.objects.all().delete()
        shown = strongest(own)
        status = "CANCELLED" if cancelled else "PAUSED" if own else "ACTIVE"
        rows.update(
            status=status,
            status_reason="USER" if cancelled else shown,
            status_note="before",
            status_changed_at=TEST_NOW,
            cancelled_at=TEST_NOW if cancelled else None,
        )
        for holder in own:
            Hold.objects.create(
                scope="SUBSCRIPTION",
                holder=holder,
                note="before",
                subscription=subscription,
                partner_id=subscription.partner_id,
                environment=subscription.environment,
            )
        before = rows.values().get()
        counts_before = (AuditEntry.objects.count(), OutboxEvent.objects.count())
        decided = verdict(
            action, who, explained=bool(note), cancelled=cancelled, own=own, held=bool(own)
        )
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
            assert refused.value.extra == {
                "status": status,
                "status_reason": before["status_reason"] or None,
            }
        else:
            result = call[action.name](**arguments)
            assert result.changed == (decided is Verdict.CHANGE)
        after = rows.values().get()
        steps = 1 if decided is Verdict.CHANGE else 0
        assert (AuditEntry.objects.count(), OutboxEvent.objects.count()) == (
            counts_before[0] + steps,
            counts_before[1] + steps,
        )
        if not steps:
            assert (after, held_by(subscription)) == (before, own)
        elif action is Action.CANCEL:
            assert (after["status"], after["status_reason"]) == ("CANCELLED", who)
            assert (after["status_note"], after["cancelled_at"]) == (note, later)
            assert held_by(subscription) == own & lifecycle.LASTING
        else:
            left = (
                own | {who} if action is Action.PAUSE else own - liftable(who, explained=bool(note))
            )
            assert held_by(subscription) == left
            assert after["status"] == ("PAUSED" if left else "ACTIVE")
            assert after["status_reason"] == strongest(left)
            moved = bool(own) != bool(left)
            assert after["status_changed_at"] == (later if moved else TEST_NOW)
            if not left:
                assert after["status_note"] == note
        tried += 1
    assert tried == 2 * 16 * 18


def test_refusals_say_who_may() -> None:
    def words(who: str, reason: str, cancelled: bool = False) -> str:
        return refusal(Action.RESUME, who, cancelled=cancelled, reason=reason)

    assert words("USER", "PARTNER") == "It was paused by the partner: say a reason to resume it."
    assert words("PARTNER", "USER") == "It was paused by the customer: say a reason to resume it."
    assert words("USER", "ADMIN") == "It was paused by staff and can be resumed only from there."
    assert "failed payment" in words("PARTNER", "PAYMENT_FAILED")
    assert words("USER", "", True) == "The subscription is cancelled, which is final."
