"""Routes of billing."""

from __future__ import annotations

from quantleap.core.api.routers import ApiRouter
from subscriptions.billing.api.viewsets import (
    PartnerCommissionViewSet,
    PartnerInvoiceViewSet,
    PartnerPaymentViewSet,
    PartnerRevenueViewSet,
    UserInvoiceViewSet,
    UserPaymentViewSet,
)

router = ApiRouter()
router.register("partner/invoices", PartnerInvoiceViewSet)
router.register("partner/payments", PartnerPaymentViewSet)
router.register("partner/revenue", PartnerRevenueViewSet)
router.register("partner/commissions", PartnerCommissionViewSet)
router.register("user/invoices", UserInvoiceViewSet)
router.register("user/payments", UserPaymentViewSet)
urlpatterns = router.urls
