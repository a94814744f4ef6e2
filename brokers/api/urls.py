"""Routes of the room brokers."""

from __future__ import annotations

from brokers.api.viewsets import PartnerBrokerAccountViewSet, UserBrokerAccountViewSet
from quantleap.core.api.routers import ApiRouter

router = ApiRouter()
router.register("partner/broker-accounts", PartnerBrokerAccountViewSet)
router.register("user/broker-accounts", UserBrokerAccountViewSet)
urlpatterns = router.urls
