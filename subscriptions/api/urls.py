"""Routes of the room subscriptions."""

from __future__ import annotations

from quantleap.core.api.routers import ApiRouter
from subscriptions.api.allocations import PartnerAllocationViewSet, UserAllocationViewSet
from subscriptions.api.readiness import PartnerReadinessViewSet
from subscriptions.api.viewsets import (
    PartnerMarketplaceViewSet,
    PartnerSubscriptionViewSet,
    UserMarketplaceViewSet,
    UserSubscriptionViewSet,
)

router = ApiRouter()
router.register("partner/marketplace", PartnerMarketplaceViewSet)
router.register("partner/readiness", PartnerReadinessViewSet)
router.register("partner/subscriptions", PartnerSubscriptionViewSet)
router.register(
    "partner/subscriptions/<str:subscription_id>/allocations",
    PartnerAllocationViewSet,
    basename="partner-subscriptions-allocations",
)
router.register("marketplace", UserMarketplaceViewSet)
router.register("user/subscriptions", UserSubscriptionViewSet)
router.register(
    "user/subscriptions/<str:subscription_id>/allocations",
    UserAllocationViewSet,
    basename="user-subscriptions-allocations",
)
urlpatterns = router.urls
