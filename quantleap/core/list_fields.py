"""Form fields of the console that take several values in one box."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

HELP: Final = "One per line, or separated by commas."
# A comma may be part of a URL; it separates values before a blank, before the next URL and at the
# end.
_SEPARATOR: Final = re.compile(r"[\r\n;]+|,(?=\s|$|https?://)", re.IGNORECASE)
_PLAIN_SEPARATOR: Final = re.compile(r"[\r\n;,]+")


class LinesField(SimpleArrayField):
    """A list, one value per line or separated by commas; errors name the value and the reason.

    Each value goes through ``to_python`` of the base field. Duplicates and empty lines are dropped.
    """

    widget = UnfoldAdminTextareaWidget

    def __init__(self, base_field: forms.Field, **kwargs: Any) -> None:
        kwargs.pop("delimiter", None)
        help_text = str(kwargs.pop("help_text", "") or "")
        if HELP not in help_text:
            help_text = f"{help_text} {HELP}".strip()
        super().__init__(base_field, help_text=help_text, **kwargs)
        if isinstance(self.widget, forms.Textarea):
            self.widget.attrs["rows"] = 3

    def check_each(self, validators: Iterable[Callable[[Any], None]]) -> None:
        """Also run these validators on every value (a model's validators are not its form's)."""
        known = self.base_field.validators
        known += [validator for validator in validators if validator not in known]

    def prepare_value(self, value: Any) -> Any:
        """One value per line."""
        if isinstance(value, (list, tuple)):
            return "\n".join(str(self.base_field.prepare_value(entry)) for entry in value)
        return value

    def split(self, value: Any) -> list[str]:
        """The values as typed."""
        if not value:
            return []
        if isinstance(value, (list, tuple)):
            return [str(entry) for entry in value]
        separator = _SEPARATOR if "://" in str(value) else _PLAIN_SEPARATOR
        entries = (entry.strip() for entry in separator.split(str(value)))
        return list(dict.fromkeys(entry for entry in entries if entry))

    def to_python(self, value: Any) -> list[Any]:  # type: ignore[override]  # the stubs say str
        """Every value, or one ValidationError with all errors."""
        cleaned, errors = [], []
        for typed in self.split(value):
            try:
                cleaned.append(self.base_field.clean(typed))
            except ValidationError as error:
                errors.append(ValidationError(f"{typed[:80]}: {' '.join(error.messages)}"))
        if errors:
            raise ValidationError(errors)
        return cleaned

    def clean(self, value: Any) -> list[Any]:
        """The list; a ValidationError has one sentence per wrong value."""
        cleaned = self.to_python(value)
        if self.required and not cleaned:
            raise ValidationError(self.error_messages["required"], code="required")
        self.run_validators(cleaned)
        return cleaned

    def run_validators(self, value: Any) -> None:
        """Validate the list as a whole; each value has been validated already."""
        forms.Field.run_validators(self, value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the values differ, however they are separated."""
        return self.split(initial) != self.split(data)
