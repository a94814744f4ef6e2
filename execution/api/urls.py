"""Routes of the room execution."""

from __future__ import annotations

from execution.api.viewsets import PartnerTradingViewSet, UserTradingViewSet
from quantleap.core.api.routers import ApiRouter

router = ApiRouter()
router.register("partner/subscriptions", PartnerTradingViewSet)
router.register("user/subscriptions", UserTradingViewSet)
urlpatterns = router.urls
