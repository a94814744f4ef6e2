"""What the viewsets of subscriptions and of their accounts share, for each audience."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rest_framework.response import Response

from quantleap.core import clock
from quantleap.core.api.viewsets import ApiViewSet, PartnerViewSet, UserViewSet
from subscriptions import services
from subscriptions.api import presenters
from subscriptions.api.serializers import PartnerSubscriptionObject, UserSubscriptionObject
from subscriptions.models import Subscription
from subscriptions.selectors import find_subscription_id, get_subscription


class ShowsSubscriptions(ApiViewSet):
    """Answers with subscriptions, as its audience sees them."""

    tag = "Subscriptions"

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        """Members of the audience's object. Needs what ``subscriptions.selectors`` loads."""
        raise NotImplementedError

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        """The serialised object of the audience."""
        raise NotImplementedError

    def load(self, public_id: str) -> Subscription:
        """The caller's subscription. Raises NotFound."""
        caller = self.caller
        return get_subscription(
            caller.partner_id, caller.environment, public_id, customer_id=caller.customer_id
        )

    def inner_id(self) -> int:
        """The key of the subscription that the path names. NotFound, which comes before the 400 of
        the body."""
        caller = self.caller
        return find_subscription_id(
            caller.partner_id,
            caller.environment,
            self.kwargs["subscription_id"],
            customer_id=caller.customer_id,
        )

    def changed(
        self, result: services.TransitionResult, message: str, *, status: int = 200
    ) -> Response:
        """The subscription as it is after a change."""
        shown = self.shown(self.load(result.subscription.public_id), clock.now())
        return presenters.transitioned(shown, result, message, status=status)


class ToPartners(ShowsSubscriptions, PartnerViewSet):
    """With the partner's commission."""

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return presenters.partner_row(subscription, self.caller.slug, now)

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return dict(PartnerSubscriptionObject(self.row(subscription, now)).data)


class ToCustomers(ShowsSubscriptions, UserViewSet):
    """Without any commission."""

    def row(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return presenters.user_row(subscription, now)

    def shown(self, subscription: Subscription, now: dt.datetime) -> dict[str, Any]:
        return dict(UserSubscriptionObject(self.row(subscription, now)).data)
