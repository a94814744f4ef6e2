"""The rows of the template page: strategies, legs, and limits for their numbers.

Field names, also for clients that post the form without a browser: docs/authoring.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.forms import BaseFormSet, formset_factory
from unfold.widgets import (
    CHECKBOX_CLASSES,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from marketplace.definition import OPTIONS, LegSpec, RuleSpec, StrategySpec, strategy_json
from marketplace.models import Leg, Strategy, Underlying
from marketplace.rules import EXIT_RULES, MONEYNESS, check_rule
from marketplace.validation import MAX_LEGS, MAX_STRATEGIES

if TYPE_CHECKING:
    # generic only in the type stubs
    _BaseFormSet = BaseFormSet[Any]
else:
    _BaseFormSet = BaseFormSet

WEEKDAY_CHOICES: Final = ((0, "Mon"), (1, "Tue"), (2, "Wed"), (3, "Thu"), (4, "Fri"))
MONEYNESS_CHOICES: Final = tuple((text, text) for text in MONEYNESS)
EXIT_CHOICES: Final = (("", "None"), *((kind.kind, kind.label) for kind in EXIT_RULES.kinds()))


def _select(choices: Any, said: str = "", **options: Any) -> forms.ChoiceField:
    """A choice field. ``said``: its accessible name, for people who cannot see the column
    heading."""
    attrs = {"aria-label": said} if said else {}
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(attrs), **options)


def _time(label: str, initial: str) -> forms.TimeField:
    return forms.TimeField(
        label=label,
        initial=initial,
        input_formats=["%H:%M:%S", "%H:%M"],
        widget=UnfoldAdminTextInputWidget(
            attrs={"placeholder": "HH:MM:SS", "inputmode": "numeric", "autocomplete": "off"}
        ),
        error_messages={"invalid": "Write a time as HH:MM:SS (IST)."},
    )


def _value(label: str) -> forms.CharField:
    attrs = {"inputmode": "decimal", "autocomplete": "off", "aria-label": label}
    return forms.CharField(
        label=label,
        required=False,
        max_length=12,
        widget=UnfoldAdminTextInputWidget(attrs=attrs),
    )


class RowForm(forms.Form):
    """A row with a key (empty for a new one) and a position among its siblings."""

    key = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    position = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    @property
    def removed(self) -> bool:
        """Whether the author removed the row."""
        return bool(self.is_bound and self.data.get(self.add_prefix("DELETE")))


class LegForm(RowForm):
    """One leg. Stop and target are a kind and a value; an empty kind means none."""

    side = _select(Leg.Side.choices, initial=Leg.Side.SELL)
    option_type = _select(tuple((kind, kind) for kind in OPTIONS), label="Type")
    moneyness = _select(MONEYNESS_CHOICES, label="Strike", initial="ATM")
    expiry = _select(Leg.Expiry.choices, initial=Leg.Expiry.WEEKLY)
    lots = forms.IntegerField(
        min_value=1,
        max_value=10_000,
        initial=1,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )
    stop_kind = _select(EXIT_CHOICES, "Stop", label="Stop", required=False)
    stop_value = _value("Stop value")
    target_kind = _select(EXIT_CHOICES, "Target", label="Target", required=False)
    target_value = _value("Target value")

    def clean(self) -> dict[str, Any]:
        """Require a value for every kind, and a kind for every value."""
        cleaned = super().clean() or {}
        for purpose in ("stop", "target"):
            kind, value = cleaned.get(f"{purpose}_kind"), cleaned.get(f"{purpose}_value")
            if kind and not value:
                self.add_error(f"{purpose}_value", f"Give the {purpose} a value.")
            if value and not kind and f"{purpose}_kind" not in self.errors:
                self.add_error(f"{purpose}_kind", "Choose percent or points, or clear the value.")
        return cleaned

    def _exit_rule(self, purpose: str) -> RuleSpec | None:
        kind, value = self.cleaned_data[f"{purpose}_kind"], self.cleaned_data[f"{purpose}_value"]
        return RuleSpec(kind, {"value": value}) if kind else None

    def spec(self) -> LegSpec:
        """The typed leg; only for a valid form."""
        data = self.cleaned_data
        return LegSpec(
            key=data["key"],
            side=data["side"],
            option_type=data["option_type"],
            lots=data["lots"],
            expiry=data["expiry"],
            strike=RuleSpec("STRIKE_TYPE", {"moneyness": data["moneyness"]}),
            stop=self._exit_rule("stop"),
            target=self._exit_rule("target"),
        )


def canonical(leg: LegSpec) -> LegSpec:
    """The leg with every rule in canonical form (25.00 -> 25); only for a validated leg."""

    def rule(value: RuleSpec | None, purpose: str) -> RuleSpec | None:
        return None if value is None else check_rule(value, side=leg.side, purpose=purpose)

    return LegSpec(
        key=leg.key,
        side=leg.side,
        option_type=leg.option_type,
        lots=leg.lots,
        expiry=leg.expiry,
        strike=check_rule(leg.strike, side=leg.side, purpose="strike"),
        stop=rule(leg.stop, "stop"),
        target=rule(leg.target, "target"),
    )


def leg_initial(leg: LegSpec) -> dict[str, Any]:
    """A leg as initial values of its form."""
    values: dict[str, Any] = {
        "key": leg.key,
        "side": leg.side,
        "option_type": leg.option_type,
        "moneyness": leg.strike.params.get("moneyness", "ATM"),
        "expiry": leg.expiry,
        "lots": leg.lots,
    }
    for purpose, rule in (("stop", leg.stop), ("target", leg.target)):
        values[f"{purpose}_kind"] = rule.kind if rule else ""
        values[f"{purpose}_value"] = rule.params.get("value", "") if rule else ""
    return values


class StrategyForm(RowForm):
    """One strategy; its legs are ``legs`` (a formset below its prefix)."""

    legs: RowFormSet

    name = forms.CharField(max_length=80, initial="Strategy", widget=UnfoldAdminTextInputWidget())
    underlying = forms.ModelChoiceField(
        Underlying.objects.filter(is_active=True),
        to_field_name="symbol",
        empty_label=None,
        widget=UnfoldAdminSelectWidget(),
    )
    entry_time = _time("Entry (IST)", "09:20:00")
    exit_time = _time("Exit (IST)", "15:15:00")
    weekdays = forms.TypedMultipleChoiceField(
        choices=WEEKDAY_CHOICES,
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": " ".join(CHECKBOX_CLASSES)}),
        help_text="None chosen: every trading day.",
    )
    special_sessions = forms.BooleanField(
        required=False,
        label="Also in special sessions",
        widget=UnfoldBooleanWidget(),
        help_text="Budget day, Muhurat",
    )
    order_rule = _select(Strategy.OrderRule.choices, initial=Strategy.OrderRule.BUY_FIRST)
    square_off = _select(
        Strategy.SquareOff.choices,
        initial=Strategy.SquareOff.PARTIAL,
        label="When a leg hits stop or target, close",
    )
    move_to_cost = _select(
        Strategy.MoveToCost.choices,
        initial=Strategy.MoveToCost.OFF,
        label="When a leg stops, move to cost",
    )
    leg_failure = _select(
        Strategy.LegFailure.choices,
        initial=Strategy.LegFailure.UNWIND_FILLED,
        label="When a leg cannot be entered",
    )

    def spec(self, legs: Sequence[LegSpec]) -> StrategySpec:
        """The typed strategy; only for a valid form."""
        data = self.cleaned_data
        return StrategySpec(
            key=data["key"],
            name=data["name"].strip(),
            underlying=data["underlying"].symbol,
            entry_time=data["entry_time"],
            exit_time=data["exit_time"],
            weekdays=tuple(sorted(set(data["weekdays"]))),
            special_sessions=data["special_sessions"],
            product=Strategy.Product.INTRADAY.value,
            order_rule=data["order_rule"],
            square_off=data["square_off"],
            move_to_cost=data["move_to_cost"],
            leg_failure=data["leg_failure"],
            legs=tuple(legs),
        )


def strategy_initial(strategy: StrategySpec) -> dict[str, Any]:
    """A strategy as initial values of its form, which has no product and takes legs as rows."""
    values = strategy_json(strategy)
    return {name: value for name, value in values.items() if name not in ("product", "legs")}


class RowFormSet(_BaseFormSet):
    """Rows that all count: a posted row is meant, even if it equals the default."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]  # not in the stubs
        form.empty_permitted = False
        return form

    def in_order(self) -> list[Any]:
        """The remaining rows, in the author's order."""
        staying = [form for form in self.forms if not form.removed]

        def place(numbered: tuple[int, Any]) -> tuple[int, int]:
            index, form = numbered
            given = getattr(form, "cleaned_data", {}).get("position")
            return (index if given is None else given, index)

        return [form for _, form in sorted(enumerate(staying), key=place)]


LegFormSet = formset_factory(
    LegForm,
    formset=RowFormSet,
    extra=0,
    can_delete=True,
    max_num=MAX_LEGS,
    validate_max=True,
    absolute_max=4 * MAX_LEGS,
)
StrategyFormSet = formset_factory(
    StrategyForm,
    formset=RowFormSet,
    extra=0,
    can_delete=True,
    max_num=MAX_STRATEGIES,
    validate_max=True,
    absolute_max=4 * MAX_STRATEGIES,
)
