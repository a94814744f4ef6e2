"""Lists in the console take lines and commas, and say what is wrong with which value."""

from __future__ import annotations

import pytest
from django import forms
from django.contrib import admin
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from django.test import RequestFactory

from quantleap.core.list_fields import HELP, LinesField
from quantleap.core.models import StaffUser


@pytest.mark.django_db
def test_no_page_takes_a_list_in_another_way() -> None:
    """Bug: boxes of several lines that wanted commas."""
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.create_superuser("asha")
    count = 0
    for model, page in admin.site._registry.items():
        if not (page.has_add_permission(request) or page.has_change_permission(request)):
            continue
        for name, field in page.get_form(request).base_fields.items():
            if isinstance(field, SimpleArrayField):
                count += 1
                assert isinstance(field, LinesField), f"{model.__name__}.{name}"
                assert HELP in field.help_text
    assert count >= 2


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("", []),
        ("1", [1]),
        ("1\n2", [1, 2]),
        ("1\r\n2\r\n", [1, 2]),
        ("1,2", [1, 2]),
        (" 1 , 2 ;3,\n,1", [1, 2, 3]),
    ],
)
def test_lines_and_commas(typed: str, values: list[int]) -> None:
    field = LinesField(forms.IntegerField(min_value=1), required=False)
    assert field.clean(typed) == values
    assert field.clean(field.prepare_value(values)) == values
    assert not field.has_changed(values, typed)


def test_every_wrong_value_is_named_with_its_reason() -> None:
    field = LinesField(forms.IntegerField(min_value=1))
    with pytest.raises(ValidationError) as caught:
        field.clean("0\n5, x")
    assert [message.partition(":")[0] for message in caught.value.messages] == ["0", "x"]
    assert "Enter a whole number." in caught.value.messages[1]
    with pytest.raises(ValidationError, match="required"):
        field.clean(" \n,")
