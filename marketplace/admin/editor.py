"""All strategies and legs of one template page, read from a post or filled from a draft."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from marketplace.admin.rows import (
    LegForm,
    LegFormSet,
    StrategyForm,
    StrategyFormSet,
    canonical,
    leg_initial,
    strategy_initial,
)
from marketplace.definition import Definition, LegSpec, StrategySpec
from marketplace.square_offs import limits
from marketplace.validation import Market, leg_findings, strategy_findings

PREFIX: Final = "strategies"
AGAIN: Final = "Save again to add it as a new one, or remove it."
#: The fields that identify a leg in messages.
LABEL_FIELDS: Final = ("side", "option_type", "moneyness")
#: A finding's field -> the form's field.
LEG_FIELDS: Final = {"strike": "moneyness", "stop": "stop_value", "target": "target_value"}


class DraftEditor:
    """All strategies and legs of one page: bound to a post, or filled from a definition.

    ``definition`` is the stored draft, whose keys a post may name; None accepts any key, for a
    picture that saves nothing.
    """

    def __init__(
        self, *, data: Mapping[str, Any] | None, definition: Definition | None, market: Market
    ) -> None:
        self._market = market
        self._definition: Definition | None = None
        #: Strategies whose legs could all be read, for the picture of an unfinished form.
        self.sound: list[StrategySpec] = []
        #: Why the others have no picture: the strategy, its first wrong leg or field, the error.
        self.gaps: list[str] = []
        strategies = definition.strategies if definition else ()
        self._keys_matter = definition is not None
        self._known = {
            strategy.key: {leg.key for leg in strategy.legs}
            for strategy in strategies
            if strategy.key
        }
        self.formset: Any = StrategyFormSet(
            data, prefix=PREFIX, initial=[strategy_initial(strategy) for strategy in strategies]
        )
        if data is not None and not self.formset.management_form.is_valid():
            self.formset.forms = []  # an incomplete form: the number of rows is unknown
            return
        for index, form in enumerate(self.formset.forms):
            _say_hours(form, market)
            legs = strategies[index].legs if data is None and index < len(strategies) else ()
            form.legs = LegFormSet(
                data, prefix=f"{form.prefix}-legs", initial=[leg_initial(leg) for leg in legs]
            )

    @property
    def new_strategy(self) -> StrategyForm:
        """The empty strategy that the page's script copies."""
        form: Any = StrategyForm(prefix=f"{PREFIX}-__strategy__")
        _say_hours(form, self._market)
        form.legs = LegFormSet(prefix=f"{form.prefix}-legs")
        return form  # type: ignore[no-any-return]  # forms take attributes freely here

    @property
    def new_leg(self) -> LegForm:
        """The empty leg that the page's script copies."""
        return LegForm(prefix=f"{PREFIX}-__strategy__-legs-__leg__")

    def is_valid(self) -> bool:
        """Validate everything once; findings are added beside their fields."""
        if self._definition is None:
            self._definition = self._read()
        return self._definition is not None

    @property
    def definition(self) -> Definition:
        """The author's definition; only after ``is_valid()``."""
        if self._definition is None:
            raise RuntimeError("the draft is not valid")
        return self._definition

    @property
    def error_count(self) -> int:
        """The number of wrong fields."""
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
                self.gaps.append(_gap(form))
                continue
            legs = self._check_legs(form, form.cleaned_data["underlying"].symbol)
            # read before any finding, because an error removes its field from cleaned_data
            strategy = form.spec(legs)
            complete = len(legs) == len(form.legs.in_order()) and not form.legs.non_form_errors()
            if strategy.name in names:
                form.add_error("name", "Another strategy has this name; choose a different one.")
            names.add(strategy.name)
            for field, message in strategy_findings(strategy, self._market):
                if field != "legs" and (complete or field != "move_to_cost"):
                    form.add_error(field, message)
            if complete:
                self.sound.append(strategy)
            else:
                self.gaps.append(_gap(form))
        if not fine or self.error_count:
            return None
        return Definition(tuple(self.sound))

    def _check_keys(self, form: Any) -> None:
        """Report keys that the draft does not have: a row that somebody else removed, or an
        invented key.

        The row loses its key, so that saving once more adds it as a new one.
        """
        key = form["key"].value() or ""
        if key and key not in self._known:
            form.add_error(None, f"Somebody else removed this strategy. {AGAIN}")
            _forget_key(form)
        seen: set[str] = set()
        for leg in form.legs.in_order():
            own = leg["key"].value() or ""
            if own and own not in self._known.get(key, set()):
                leg.add_error(None, f"Somebody else removed this leg. {AGAIN}")
                _forget_key(leg)
            elif own and own in seen:
                leg.add_error(None, f"This leg was sent twice. {AGAIN}")
                _forget_key(leg)
            seen.add(own)

    def _check_legs(self, form: Any, underlying: str) -> list[LegSpec]:
        """The strategy's valid legs; the others get their findings beside the field."""
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


def _say_hours(form: Any, market: Market) -> None:
    """Show the session's limits beside the times."""
    if market.hours is None:
        return
    allowed = limits(market.hours, market.square_offs)
    form.fields["entry_time"].help_text = f"From {allowed.earliest:%H:%M:%S} on."
    form.fields[
        "exit_time"
    ].help_text = f"Not after {allowed.latest:%H:%M:%S}: {allowed.why_latest}."


def _forget_key(form: Any) -> None:
    """Make the row a new one on the page that is shown again."""
    form.data = form.data.copy()
    form.data[form.add_prefix("key")] = ""


def _gap(form: Any) -> str:
    """Why a strategy has no picture: ``Condor: leg 2 (SELL PE OTM4) is missing: Give …``."""
    name = str(form["name"].value() or "Strategy").strip()
    for number, leg in enumerate(form.legs.in_order(), start=1):
        if leg.errors:
            typed = (str(leg[field].value() or "") for field in LABEL_FIELDS)
            return f"{name}: leg {number} ({' '.join(typed)}) is missing: {_first_error(leg)}"
    errors = form.legs.non_form_errors()
    return f"{name}: {errors[0] if errors else _first_error(form)}"


def _first_error(form: Any) -> str:
    """A form's first error message, with its field if it has one."""
    for name, messages in form.errors.items():
        label = form[name].label if name in form.fields else ""
        return f"{label}: {messages[0]}" if label else str(messages[0])
    return "it could not be read."
