"""Serializer bases: unknown fields are refused by name, money is a JSON number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """A body may hold only declared fields (docs/api/conventions.md#errors)."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse unknown fields, then validate as usual."""
        if isinstance(data, Mapping):
            unknown = sorted(str(name) for name in set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(dict.fromkeys(unknown, "Unknown field."))
        return super().to_internal_value(data)

    def create(self, validated_data: Any) -> Any:
        """Not supported: services create rows."""
        raise TypeError("serializers validate; services create")

    def update(self, instance: Any, validated_data: Any) -> Any:
        """Not supported: services update rows."""
        raise TypeError("serializers validate; services update")


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def refuse_control_characters(value: str) -> None:
    """Refuse control characters: no field here has several lines, and a terminal might obey them
    one day."""
    if _CONTROL.search(value):
        raise serializers.ValidationError("Control characters are not allowed.")


class StrictCharField(serializers.CharField):
    """One line of text: neither a number nor a boolean, no control characters (NUL is one)."""

    def to_internal_value(self, data: Any) -> str:
        """Accept str and refuse every other type."""
        if not isinstance(data, str):
            self.fail("invalid")
        value: str = super().to_internal_value(data)
        refuse_control_characters(value)
        return value


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer: neither text nor boolean nor 1.5."""

    def to_internal_value(self, data: Any) -> int:
        """Accept int, but not bool, and refuse every other type."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """JSON true or false only."""

    def to_internal_value(self, data: Any) -> bool:
        """Accept bool only."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictDecimalField(serializers.DecimalField):
    """A JSON number (parsed as Decimal by StrictJSONParser); also rendered as a number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("coerce_to_string", False)
        super().__init__(*args, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """Accept JSON numbers only."""
        if isinstance(data, (bool, str)):
            self.fail("invalid")
        return super().to_internal_value(data)
