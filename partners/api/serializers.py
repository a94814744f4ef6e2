"""Bodies in and out of this room's routes."""

from __future__ import annotations

from rest_framework import serializers

from quantleap.core.api.serializers import (
    StrictCharField,
    StrictSerializer,
    refuse_control_characters,
)


class EmailField(serializers.EmailField):
    """An e-mail address, answered and stored in lower case."""

    def to_internal_value(self, data: object) -> str:
        """Text only."""
        if not isinstance(data, str):
            self.fail("invalid")
        value: str = super().to_internal_value(data)
        refuse_control_characters(value)  # Django's rule lets a quoted local part hold them
        return value.lower()


class UserTokenRequest(StrictSerializer):
    """``POST /partner/user-tokens``."""

    user_email = EmailField(max_length=254)
    template_id = StrictCharField(max_length=40, required=False, allow_null=True)


class UserTokenAnswer(serializers.Serializer[object]):
    """A customer's token, shown once."""

    statusCode = serializers.IntegerField()  # noqa: N815  the contract's spelling
    user_token = serializers.CharField()
    user_id = serializers.CharField()
    expires_at = serializers.DateTimeField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    template_id = serializers.CharField(allow_null=True)
