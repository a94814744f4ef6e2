"""Bodies in and out of this room's routes."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from quantleap.core.api.serializers import StrictCharField, StrictSerializer
from quantleap.core.identifiers import MAX_EMAIL, BadIdentifier, clean_email


@extend_schema_field({"type": "string", "format": "email", "maxLength": MAX_EMAIL})
class EmailField(serializers.CharField):
    """An e-mail address, answered and stored in lower case with its domain as A-labels."""

    default_error_messages = {"invalid": "Write it as name@example.com."}

    def to_internal_value(self, data: object) -> str:
        """Text only; the part before the @ is ASCII before its case is folded."""
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return clean_email(super().to_internal_value(data))
        except BadIdentifier as error:
            raise serializers.ValidationError(str(error), code="invalid") from error


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
