"""Shows violated database constraints in the model's own words, beside the field concerned.

A constraint that a form can violate has a ``violation_error_message``, which Django shows above the
form. Here it moves to the field that the constraint is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import BaseConstraint, CheckConstraint, F, Q, UniqueConstraint
from django.forms.models import InlineForeignKeyField

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = object


def fields_of(constraint: BaseConstraint) -> list[str]:
    """The fields of a constraint, the one to blame first.

    For a unique constraint that is the last field: those before it only say within what it is
    unique.
    """
    if isinstance(constraint, UniqueConstraint):
        return [*reversed(constraint.fields), *_fields_in(constraint.condition)]
    if isinstance(constraint, CheckConstraint):
        return list(dict.fromkeys(_fields_in(constraint.condition)))
    return []


def _fields_in(condition: Any) -> Iterator[str]:
    if isinstance(condition, Q):
        for child in condition.children:
            yield from _fields_in(child)
    elif isinstance(condition, tuple):
        yield condition[0].partition("__")[0]
        yield from _fields_in(condition[1])
    elif isinstance(condition, F):
        yield str(getattr(condition, "name", "")).partition("__")[0]


class BesideFields(_ModelForm):
    """Part of every model form of the console."""

    def _update_errors(self, errors: ValidationError) -> None:
        above = getattr(errors, "error_dict", {}).pop(NON_FIELD_ERRORS, [])
        super()._update_errors(errors)  # type: ignore[misc]  # not in the stubs
        blamed = {
            str(constraint.get_violation_error_message()): name
            for constraint in reversed(self._meta.model._meta.constraints)
            if (name := self._shown(constraint))
        }
        for error in above:
            for message in error.messages:
                self.add_error(blamed.get(message), message)

    def _post_clean(self) -> None:
        """Also check the constraints that include the parent. Django excludes the parent of an
        inline row from them, and so reported a second fee for one day as a change by somebody
        else."""
        super()._post_clean()  # type: ignore[misc]  # not in the stubs
        parents = {
            name for name, field in self.fields.items() if isinstance(field, InlineForeignKeyField)
        }
        if not parents or self.errors:
            return
        exclude = self._get_validation_exclusions()  # type: ignore[attr-defined]  # the same
        for constraint in self._meta.model._meta.constraints:
            if parents.isdisjoint(fields_of(constraint)):
                continue
            try:
                constraint.validate(self._meta.model, self.instance, exclude=exclude)
            except ValidationError as error:
                self._update_errors(ValidationError({NON_FIELD_ERRORS: error.messages}))

    def _shown(self, constraint: BaseConstraint) -> str:
        """The constraint's first field that the form shows."""
        for name in fields_of(constraint):
            if name in self.fields and not self.fields[name].widget.is_hidden:
                return name
        return ""


def beside_fields(form: type[Any]) -> type[Any]:
    """The form class with :class:`BesideFields` in front."""
    if issubclass(form, BesideFields):
        return form
    return type(form.__name__, (BesideFields, form), {"__module__": form.__module__})
