"""Routes of the room subscriptions."""

from __future__ import annotations

from quantleap.core.api.routers import ApiRouter
from subscriptions.api.viewsets import (
    PartnerMarketplaceViewSet,
    PartnerSubscriptionViewSet,
    UserMarketplaceViewSet,
    UserSubscriptionViewSet,
)

router = ApiRouter()
router.register("partner/marketplace", PartnerMarketplaceViewSet)
router.register("partner/subscriptions", PartnerSubscriptionViewSet)
router.register("marketplace", UserMarketplaceViewSet)
router.register("user/subscriptions", UserSubscriptionViewSet)
urlpatterns = router.urls
