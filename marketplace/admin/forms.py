"""Forms of the template page: catalogue fields, and the strategies and legs on the same page.

Field names (also for clients that post the form without a browser): docs/authoring.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.forms import BaseFormSet, formset_factory
from unfold.widgets import (
    CHECKBOX_CLASSES,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from marketplace.categories import CATEGORIES
from marketplace.definition import Definition, LegSpec, RuleSpec, StrategySpec
from marketplace.models import Leg, Strategy, Template, Underlying
from marketplace.rules import EXIT_RULES, MONEYNESS, check_rule
from marketplace.selectors import draft_definition
from marketplace.starting_points import StartingPoint
from marketplace.validation import (
    MAX_LEGS,
    MAX_STRATEGIES,
    Market,
    leg_findings,
    strategy_findings,
)
from quantleap.core.identifiers import ascii_upper

if TYPE_CHECKING:
    # generic only in the type stubs
    _BaseFormSet = BaseFormSet[Any]
    _TemplateModelForm = forms.ModelForm[Template]
else:
    _BaseFormSet = BaseFormSet
    _TemplateModelForm = forms.ModelForm

PREFIX = "strategies"
WEEKDAY_CHOICES = ((0, "Mon"), (1, "Tue"), (2, "Wed"), (3, "Thu"), (4, "Fri"))
MONEYNESS_CHOICES = tuple((text, text) for text in MONEYNESS)
EXIT_CHOICES = (("", "None"), *((kind.kind, kind.label) for kind in EXIT_RULES.kinds()))
#: Finding's field -> form's field.
LEG_FIELDS = {"strike": "moneyness", "stop": "stop_value", "target": "target_value"}


def _select(choices: Any, **options: Any) -> forms.ChoiceField:
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **options)


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


def _value() -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=12,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


class RowForm(forms.Form):
    """A row with a key (empty when new) and a place among its siblings."""

    key = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    position = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    @property
    def removed(self) -> bool:
        """Whether the author took the row out."""
        return bool(self.is_bound and self.data.get(self.add_prefix("DELETE")))


class LegForm(RowForm):
    """One leg. Stop and target are a kind and a value; an empty kind means none."""

    side = _select(Leg.Side.choices, initial=Leg.Side.SELL)
    option_type = _select((("CE", "CE"), ("PE", "PE")), label="Type")
    moneyness = _select(MONEYNESS_CHOICES, label="Strike", initial="ATM")
    expiry = _select(Leg.Expiry.choices, initial=Leg.Expiry.WEEKLY)
    lots = forms.IntegerField(
        min_value=1,
        max_value=10_000,
        initial=1,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
    )
    stop_kind = _select(EXIT_CHOICES, label="Stop", required=False)
    stop_value = _value()
    target_kind = _select(EXIT_CHOICES, label="Target", required=False)
    target_value = _value()

    def clean(self) -> dict[str, Any]:
        """A kind needs a value and the other way round."""
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
        """The leg as typed; only for a valid form."""
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
    """The leg with every rule in its one spelling (25.00 -> 25); only for a checked leg."""

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
        """The strategy as typed; only for a valid form."""
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
    """A strategy as initial values of its form."""
    return {
        "key": strategy.key,
        "name": strategy.name,
        "underlying": strategy.underlying,
        "entry_time": strategy.entry_time.isoformat("seconds"),
        "exit_time": strategy.exit_time.isoformat("seconds"),
        "weekdays": list(strategy.weekdays),
        "special_sessions": strategy.special_sessions,
        "order_rule": strategy.order_rule,
        "square_off": strategy.square_off,
        "move_to_cost": strategy.move_to_cost,
        "leg_failure": strategy.leg_failure,
    }


class RowFormSet(_BaseFormSet):
    """Rows that all count: what is posted is meant, also where it equals a default."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]  # not in the stubs
        form.empty_permitted = False
        return form

    def in_order(self) -> list[Any]:
        """The rows that stay, as the author ordered them."""
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


class DraftEditor:
    """All strategies and legs of one page: bound to a post, or filled from a definition.

    ``definition`` is the draft as stored, whose keys a post may name; None takes any key, for a
    picture that saves nothing.
    """

    def __init__(
        self, *, data: Mapping[str, Any] | None, definition: Definition | None, market: Market
    ) -> None:
        self._market = market
        self._definition: Definition | None = None
        #: Strategies and legs without an error, for the picture of an unfinished form.
        self.sound: list[StrategySpec] = []
        strategies = definition.strategies if definition else ()
        self._keys_matter = definition is not None
        self._known = {one.key: {leg.key for leg in one.legs} for one in strategies if one.key}
        self.formset: Any = StrategyFormSet(
            data, prefix=PREFIX, initial=[strategy_initial(strategy) for strategy in strategies]
        )
        if data is not None and not self.formset.management_form.is_valid():
            return
        for index, form in enumerate(self.formset.forms):
            legs = strategies[index].legs if data is None and index < len(strategies) else ()
            form.legs = LegFormSet(
                data, prefix=f"{form.prefix}-legs", initial=[leg_initial(leg) for leg in legs]
            )

    @property
    def new_strategy(self) -> StrategyForm:
        """The empty strategy that the page's script copies."""
        form: Any = StrategyForm(prefix=f"{PREFIX}-__strategy__")
        form.legs = LegFormSet(prefix=f"{form.prefix}-legs")
        return form  # type: ignore[no-any-return]  # forms take attributes freely here

    @property
    def new_leg(self) -> LegForm:
        """The empty leg that the page's script copies."""
        return LegForm(prefix=f"{PREFIX}-__strategy__-legs-__leg__")

    def is_valid(self) -> bool:
        """Check everything once; findings are added beside their fields."""
        if self._definition is None:
            self._definition = self._read()
        return self._definition is not None

    @property
    def definition(self) -> Definition:
        """What the author wrote; only after ``is_valid()``."""
        if self._definition is None:
            raise RuntimeError("the draft is not valid")
        return self._definition

    @property
    def error_count(self) -> int:
        """How many fields are wrong."""
        return sum(len(form.errors) for form in self._all_forms())

    def _all_forms(self) -> Iterator[Any]:
        for form in self.formset.forms:
            if not form.removed:
                yield form
                yield from (leg for leg in form.legs.forms if not leg.removed)

    def _read(self) -> Definition | None:
        fine = bool(self.formset.is_valid())
        if not self.formset.management_form.is_valid():
            return None
        names: set[str] = set()
        for form in self.formset.in_order():
            fine &= bool(form.legs.is_valid())
            if self._keys_matter:
                self._check_keys(form)
            if not form.is_valid():
                self._check_legs(form, "")
                continue
            name = form.cleaned_data["name"].strip()
            if name in names:
                form.add_error("name", "Another strategy has this name; give each its own.")
            names.add(name)
            legs = self._check_legs(form, form.cleaned_data["underlying"].symbol)
            strategy = form.spec(legs)
            for field, message in strategy_findings(strategy, self._market):
                incomplete = field == "move_to_cost" and len(legs) < len(form.legs.in_order())
                if field != "legs" and not incomplete:
                    form.add_error(field, message)
            self.sound.append(strategy)
        if not fine or self.error_count:
            return None
        return Definition(tuple(self.sound))

    def _check_keys(self, form: Any) -> None:
        """A key that the draft does not have: a stale page, or somebody's invention."""
        key = form["key"].value() or ""
        keys = [leg["key"].value() or "" for leg in form.legs.in_order()]
        known = self._known.get(key, set())
        given = [one for one in keys if one]
        if (key and key not in self._known) or not known.issuperset(given):
            form.add_error(None, "This page is out of date. Reload it and try again.")
        elif len(set(given)) != len(given):
            form.add_error(None, "One leg was sent twice. Reload the page and try again.")

    def _check_legs(self, form: Any, underlying: str) -> list[LegSpec]:
        """The strategy's sound legs; the others get their findings beside the field."""
        sound: list[LegSpec] = []
        for leg in form.legs.in_order():
            if not leg.is_valid():
                continue
            spec = leg.spec()
            for field, message in leg_findings(spec, underlying, self._market):
                leg.add_error(LEG_FIELDS.get(field, field), message)
            if not leg.errors:
                sound.append(canonical(spec))
        return sound


class TemplateForm(_TemplateModelForm):
    """The template's own fields, with its strategies as ``editor``."""

    market: Market
    start: StartingPoint | None = None

    revision = forms.CharField(required=False, widget=forms.HiddenInput)
    category = forms.ChoiceField(initial=CATEGORIES[0], widget=UnfoldAdminSelectWidget())
    index = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    tags = SimpleArrayField(
        forms.CharField(max_length=40),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Separated by commas.",
    )
    visible_to = SimpleArrayField(
        forms.IntegerField(min_value=1),
        required=False,
        label="Chosen partners",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Numbers of the partners, separated by commas.",
    )

    class Meta:
        model = Template
        fields = (
            "name",
            "description",
            "category",
            "index",
            "difficulty",
            "tags",
            "visibility",
            "visible_to",
            "pricing_type",
            "sac",
            "black_box",
            "disclosure",
            "requires_disclosure",
        )
        widgets = {
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "disclosure": UnfoldAdminTextareaWidget(attrs={"rows": 6}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("index", sorted(self.market.underlyings), self.instance.index)
        self._offer("category", CATEGORIES, self.instance.category)
        if self.instance.pk:
            definition = draft_definition(self.instance.pk)
            self.initial["revision"] = self.instance.updated_at.isoformat()
        else:
            definition = self.start.definition if self.start else Definition(())
        data = self.data if self.is_bound else None
        self.editor = DraftEditor(data=data, definition=definition, market=self.market)

    def _offer(self, name: str, values: Sequence[str], stored: str) -> None:
        """Choices of a field, the stored value among them even where it is not offered now."""
        field: Any = self.fields.get(name)  # absent where the page is read-only
        if field is not None:
            field.choices = [(v, v) for v in dict.fromkeys([*values, stored]) if v]

    def is_valid(self) -> bool:
        """Both halves are checked, so that all errors show at once."""
        own = super().is_valid()
        return self.editor.is_valid() and own

    def clean(self) -> dict[str, Any]:
        """Refuse to overwrite what somebody else saved meanwhile; partners where needed."""
        cleaned = super().clean() or {}
        revision = cleaned.get("revision")
        if self.instance.pk and revision and revision != self.instance.updated_at.isoformat():
            raise forms.ValidationError(
                "Somebody else changed this template since you opened it. Reload the page."
            )
        if cleaned.get("visibility") == Template.Visibility.PARTNERS and not cleaned["visible_to"]:
            self.add_error("visible_to", "Name at least one partner, or make it public.")
        if "tags" in cleaned:
            tags = dict.fromkeys(ascii_upper(tag.strip()) for tag in cleaned["tags"] if tag)
            if foreign := [tag for tag in tags if not tag.isascii()]:
                self.add_error("tags", f"Plain (ASCII) characters only: {', '.join(foreign)}.")
            else:
                cleaned["tags"] = list(tags)
        return cleaned
