"""Routes of this room: validate, call the service, serialise."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from partners import permissions
from partners.api.serializers import UserTokenAnswer, UserTokenRequest
from partners.services import USER_TOKEN_LIFETIME, mint_user_token
from quantleap.core import clock
from quantleap.core.api.views import Idempotency, PartnerView


class UserTokensView(PartnerView):
    """Tokens with which a partner's customer acts for themselves."""

    permissions_by_method: ClassVar[dict[str, str]] = {"POST": permissions.SUBSCRIPTIONS_WRITE}
    open_when_suspended = frozenset({"POST"})
    idempotency = Idempotency.SHOWS_SECRET

    @extend_schema(
        operation_id="partner_user_tokens_create",
        request=UserTokenRequest,
        responses={201: UserTokenAnswer},
    )
    def post(self, request: Request) -> Response:
        """Mint a 15-minute token for a customer, found or created by e-mail."""
        data = self.validated(UserTokenRequest, request)
        template_id = data.get("template_id") or ""
        minted = mint_user_token(
            partner_id=self.partner.partner_id,
            environment=self.partner.environment,
            email=data["user_email"],
            key_id=self.partner.key_id,
            template_id=template_id,
            # a suspended partner's customers get in; nobody new does
            known_only=self.partner.suspended,
            actor=self.partner.actor,
            now=clock.now(),
        )
        answer = {
            "statusCode": 201,
            "user_token": minted.token,
            "user_id": minted.customer.public_id,
            "expires_at": minted.expires_at,
            "expires_in": int(USER_TOKEN_LIFETIME.total_seconds()),
            "template_id": template_id or None,
        }
        return Response(UserTokenAnswer(answer).data, status=201)
