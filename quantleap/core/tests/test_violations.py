"""A violated constraint is reported in words, beside its field.

Bug: `Constraint "price_not_negative" is violated.`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import BaseConstraint, Model, UniqueConstraint
from django.http import HttpRequest
from django.test import RequestFactory

from marketplace.models import Price, Template
from marketplace.tests.factories import load_reference_data, make_template
from quantleap.core.admin.violations import BesideFields, fields_of
from quantleap.core.models import StaffUser
from subscriptions.billing.models import Supplier, TaxRate

pytestmark = pytest.mark.django_db

#: Refused in words by the page itself: a form shows only some of the constraint's fields, or the
#: page asks a service.
BY_THE_PAGE = {
    "template_name_uniq": "the form's own check, which knows the template's environment",
    "template_owner_consistent": "visibility: staff's templates are the platform's, which may all",
    "kill_switch_engaged_uniq": "the page asks the service",
    "kill_switch_target": "the page asks the service",
    "contract_list_one_open": "the page asks the service, which finds the one that is open",
    "hold_one_open_uniq": "the page asks the service, which finds the one that is there",
    "hold_has_its_target": "the page asks what, and the service finds it",
    "hold_lifted_has_date": "the page asks the service",
}


@pytest.fixture
def request_of_boss() -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = StaffUser.objects.create_superuser("boss")
    return request


def forms(request: HttpRequest) -> Iterator[tuple[type[Model], Any]]:
    """Every model form of the console, those of rows below a parent included."""
    for model, page in admin.site._registry.items():
        if page.has_add_permission(request):
            yield model, page.get_form(request, None)
            for inline in page.get_inline_instances(request, None):
                if inline.has_add_permission(request, None):
                    formset: Any = inline.get_formset(request, None)
                    yield inline.model, formset.form


def touched(model: type[Model], form: Any) -> list[BaseConstraint]:
    """The constraints that this form could violate."""
    return [
        constraint
        for constraint in model._meta.constraints
        if set(fields_of(constraint)) & set(form.base_fields)
    ]


def test_every_constraint_that_a_form_can_violate_has_words(request_of_boss: HttpRequest) -> None:
    seen = set()
    for model, form in forms(request_of_boss):
        for constraint in touched(model, form):
            seen.add(constraint.name)
            if constraint.name in BY_THE_PAGE:
                continue
            default = constraint.default_violation_error_message
            assert constraint.violation_error_message != default, constraint.name
            shown = set(form.base_fields)
            assert any(name in shown for name in fields_of(constraint)), constraint.name
    assert {"price_not_negative", "feed_one_primary", "supplier_gstin_state"} <= seen
    assert len(seen) >= 8


def test_every_form_puts_them_beside_their_field(request_of_boss: HttpRequest) -> None:
    pairs = list(forms(request_of_boss))
    assert [model for model, form in pairs if not issubclass(form, BesideFields)] == []
    assert len(pairs) >= 8


def test_a_form_checks_what_it_can_violate(request_of_boss: HttpRequest) -> None:
    """Django skips a constraint of which the form lacks a field: the row would be a crash."""
    for model, form in forms(request_of_boss):
        for constraint in touched(model, form):
            if constraint.name in BY_THE_PAGE:
                continue
            needed = constraint.fields if isinstance(constraint, UniqueConstraint) else ()
            parents = {field.name for field in model._meta.fields if field.is_relation}
            # A partner's number is asked for by name and put into the row by the form.
            asked = set(form.base_fields) | {f"{name}_id" for name in form.base_fields}
            assert set(needed) <= asked | parents, constraint.name


def errors_of(request: HttpRequest, model: type[Model], values: dict[str, str]) -> Any:
    form: Any = admin.site._registry[model].get_form(request, None)
    return form(values).errors


def test_a_rate_of_120_percent_is_refused_beside_the_rate(request_of_boss: HttpRequest) -> None:
    errors = errors_of(
        request_of_boss, TaxRate, {"effective_from": "2027-04-01", "rate_pct": "120"}
    )
    assert errors == {"rate_pct": ["A rate is 0 to 100 percent."]}


def test_a_gstin_of_another_state_is_refused_beside_it(request_of_boss: HttpRequest) -> None:
    errors = errors_of(request_of_boss, Supplier, {"state_code": "27", "gstin": "29AAAAA0000A1Z5"})
    assert errors["gstin"] == ["A GSTIN begins with the code of its state."]
    assert "__all__" not in errors


def price_form(request: HttpRequest, template: Template, **values: str) -> Any:
    """The form of one new fee below a template."""
    page = admin.site._registry[Template]
    inline = next(
        instance
        for instance in page.get_inline_instances(request, template)
        if instance.model is Price
    )
    formset_class: Any = inline.get_formset(request, template)
    form = formset_class.form({"tier": "STANDARD", "effective_from": "2027-01-01", **values})
    form.instance.template = template
    return form


def test_a_negative_fee_is_refused_beside_the_fee(request_of_boss: HttpRequest) -> None:
    load_reference_data()
    template = make_template()
    form = price_form(request_of_boss, template, monthly_fee="-1")
    assert form.errors.get("monthly_fee") == ["A fee is ₹0 or more."]
    assert "is violated" not in str(form.errors)
