"""The console's widgets: every form field looks as on the pages that unfold makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanSwitchWidget,
)

#: Django's widget -> ours. A widget of any other class was chosen by its form, and stays.
_DRESSED: Final[Mapping[type[forms.Widget], Callable[..., forms.Widget]]] = {
    forms.TextInput: UnfoldAdminTextInputWidget,
    forms.Textarea: UnfoldAdminTextareaWidget,
    forms.NumberInput: UnfoldAdminIntegerFieldWidget,
    forms.EmailInput: UnfoldAdminEmailInputWidget,
    forms.URLInput: UnfoldAdminURLInputWidget,
    forms.PasswordInput: UnfoldAdminPasswordWidget,
    forms.DateInput: UnfoldAdminTextInputWidget,
    forms.Select: UnfoldAdminSelectWidget,
    forms.SelectMultiple: UnfoldAdminSelectMultipleWidget,
    forms.RadioSelect: UnfoldAdminRadioSelectWidget,
    forms.CheckboxInput: UnfoldBooleanSwitchWidget,
    forms.CheckboxSelectMultiple: UnfoldAdminCheckboxSelectMultipleWidget,
}


def dress(fields: Iterable[forms.Field]) -> None:
    """Give each field the console's widget for its kind, with the attributes it had.

    A date uses the browser's own picker: Django's calendar needs scripts that only its forms load.
    """
    for field in fields:
        widget_class = _DRESSED.get(type(field.widget))
        if widget_class is None:
            continue
        attrs: dict[str, Any] = {**field.widget.attrs}
        if isinstance(field, forms.DecimalField):
            widget_class = UnfoldAdminDecimalFieldWidget
        elif isinstance(field, forms.DateField):
            attrs["type"] = "date"
        elif widget_class is UnfoldAdminTextareaWidget:
            attrs["rows"] = 3
        widget: Any = widget_class(attrs=attrs)
        widget.is_required = field.required
        if isinstance(field, forms.ChoiceField):
            widget.choices = field.choices
        field.widget = widget
