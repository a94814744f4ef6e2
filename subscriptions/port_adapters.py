"""This room's part at the ports of the rooms below it (marketplace.ports, partners.ports)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Final

from django.urls import reverse

from marketplace.definition import Definition
from marketplace.ports import RefusedSubscription
from partners.ports import Standing, Step
from quantleap.core.audit import Actor
from subscriptions import followers, selectors, services
from subscriptions.services import suspensions


class Subscribers:
    """The subscriptions of a template (marketplace.ports)."""

    def count(self, template_id: int) -> int:
        """See :func:`subscriptions.selectors.live_count`."""
        return selectors.live_count(template_id)

    def partners(self, template_id: int) -> Collection[int]:
        """See :func:`subscriptions.selectors.partners_following`."""
        return selectors.partners_following(template_id)

    def refused(
        self, template_id: int, definition: Definition, day: dt.date
    ) -> list[RefusedSubscription]:
        """See :func:`subscriptions.followers.refused_followers`; adds links to their pages."""
        return [
            RefusedSubscription(
                follower.public_id,
                reverse("admin:subscriptions_subscription_change", args=[follower.pk]),
                follower.cause,
                follower.words,
            )
            for follower in followers.refused_followers(template_id, definition, day)
        ]

    def follows(
        self,
        template_id: int,
        *,
        partner_id: int | None,
        environment: str,
        customer_id: int | None = None,
    ) -> bool:
        """See :func:`subscriptions.selectors.follows`."""
        return selectors.follows(template_id, partner_id, environment, customer_id=customer_id)

    def cancel_for_withdrawal(self, template_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """See :func:`subscriptions.services.cancel_for_withdrawal`."""
        return services.cancel_for_withdrawal(template_id, actor=actor, now=now)


class FollowersOfPartners:
    """The subscriptions of a partner's customers; each method calls the service of its name."""

    def standing(self, partner_id: int) -> Standing:
        """See :func:`subscriptions.services.suspensions.standing`."""
        return suspensions.standing(partner_id)

    def hold_all(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> int:
        """See :func:`subscriptions.services.suspensions.hold_all`."""
        return suspensions.hold_all(partner_id, actor=actor, now=now)

    def pause_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """See :func:`subscriptions.services.suspensions.pause_due`."""
        return suspensions.pause_due(partner_id, now=now)

    def release_all(self, partner_id: int, *, note: str, actor: Actor, now: dt.datetime) -> int:
        """See :func:`subscriptions.services.suspensions.release_all`."""
        return suspensions.release_all(partner_id, note=note, actor=actor, now=now)

    def end_when_paid(self, partner_id: int, *, actor: Actor, now: dt.datetime) -> Step:
        """See :func:`subscriptions.services.suspensions.end_when_paid`."""
        return suspensions.end_when_paid(partner_id, actor=actor, now=now)

    def end_due(self, partner_id: int, *, now: dt.datetime) -> Step:
        """See :func:`subscriptions.services.suspensions.end_due`."""
        return suspensions.end_due(partner_id, now=now)

    def keep_all(self, partner_id: int, *, now: dt.datetime) -> int:
        """See :func:`subscriptions.services.suspensions.keep_all`."""
        return suspensions.keep_all(partner_id, now=now)


SUBSCRIBERS_OF_TEMPLATES: Final = Subscribers()
FOLLOWERS_OF_PARTNERS: Final = FollowersOfPartners()
