"""Routes of the room partners."""

from __future__ import annotations

from partners.api.viewsets import PartnerCustomerViewSet, PartnerUserTokenViewSet
from quantleap.core.api.routers import ApiRouter

router = ApiRouter()
router.register("partner/user-tokens", PartnerUserTokenViewSet)
router.register("partner/customers", PartnerCustomerViewSet)
urlpatterns = router.urls
