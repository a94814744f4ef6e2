"""The template page's form: catalogue fields, with the strategies as ``editor``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from unfold.widgets import (
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from marketplace.admin.editor import DraftEditor
from marketplace.categories import CATEGORIES
from marketplace.definition import Definition
from marketplace.models import Template
from marketplace.models.templates import NAME_TAKEN
from marketplace.ports import PARTNERS
from marketplace.presets import StartingPoint
from marketplace.selectors import draft_definition, name_is_taken
from marketplace.services import PriceTerms, price_refusals
from marketplace.validation import Market
from quantleap.core import clock
from quantleap.core.admin import DatedValueForm
from quantleap.core.identifiers import ascii_upper
from quantleap.core.list_fields import LinesField

if TYPE_CHECKING:
    # generic only in the type stubs
    _TemplateModelForm = forms.ModelForm[Template]
else:
    _TemplateModelForm = forms.ModelForm


class PriceForm(DatedValueForm):
    """A new price, for all partners or for one."""

    partner = forms.TypedChoiceField(
        coerce=int,
        empty_value=None,
        required=False,
        label="For",
        widget=UnfoldAdminSelectWidget(),
        error_messages={"invalid_choice": "There is no such partner: choose from the list."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        partner: Any = self.fields.get("partner")  # absent if the page is read-only
        if partner is not None:
            partner.choices = [("", "Everybody"), *PARTNERS.get()().items()]

    def clean(self) -> dict[str, Any]:
        """Set the row's partner before its constraints are checked."""
        cleaned = super().clean()
        self.instance.partner_id = cleaned.get("partner")
        return cleaned

    def refusals(self) -> Mapping[str, str]:
        """The fees of a stored template speak against it, or nothing does."""
        if not self.instance.template_id:
            return {}
        return price_refusals(self.instance.template_id, self.terms, clock.now())

    @property
    def terms(self) -> PriceTerms:
        """The typed price; only for a valid form."""
        data = self.cleaned_data
        return PriceTerms(
            monthly_fee=data["monthly_fee"],
            effective_from=data["effective_from"],
            effective_until=data.get("effective_until"),
            tier=data["tier"],
            partner_id=data.get("partner"),
            reason=data.get("reason", ""),
            large_change=data.get("large_change", False),
        )

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # no stub
        return excluded - {"partner_id"}


class TemplateForm(_TemplateModelForm):
    """The template's own fields, with its strategies as ``editor``."""

    market: Market
    start: StartingPoint | None = None
    #: Why the database has just refused this post; '' at the first attempt.
    refusal = ""
    _editor_told = False

    revision = forms.CharField(required=False, widget=forms.HiddenInput)
    category = forms.ChoiceField(initial=CATEGORIES[0], widget=UnfoldAdminSelectWidget())
    index = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    tags = LinesField(forms.CharField(max_length=40), required=False)
    visible_to = forms.TypedMultipleChoiceField(
        coerce=int,
        required=False,
        label="Chosen partners",
        widget=UnfoldAdminSelect2MultipleWidget(),
        help_text="Used where the visibility is Chosen partners.",
        error_messages={"invalid_choice": "There is no such partner: choose from the list."},
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
        chosen: Any = self.fields.get("visible_to")
        if chosen is not None:
            chosen.choices = list(PARTNERS.get()().items())
        if self.instance.pk:
            definition = draft_definition(self.instance.pk)
            self.initial["revision"] = self.instance.updated_at.isoformat()
        else:
            definition = self.start.definition if self.start else Definition(())
        data = self.data if self.is_bound else None
        self.editor = DraftEditor(data=data, definition=definition, market=self.market)

    def _offer(self, name: str, values: Sequence[str], stored: str) -> None:
        """A field's choices, including the stored value even if it is no longer offered."""
        field: Any = self.fields.get(name)  # absent if the page is read-only
        if field is not None:
            field.choices = [(v, v) for v in dict.fromkeys([*values, stored]) if v]

    def is_valid(self) -> bool:
        """Validate both halves, so that all errors show at once."""
        own = super().is_valid()
        if self.editor.is_valid():
            return own
        if not self._editor_told:
            self._editor_told = True
            count = self.editor.error_count
            fields = "one field" if count == 1 else f"{count} fields"
            self.add_error(None, f"Please correct {fields} of the strategies, marked below.")
        return False

    def clean(self) -> dict[str, Any]:
        """Check that names are free, no newer change is overwritten, and partners are given if
        needed."""
        cleaned = super().clean() or {}
        if self.refusal:
            self.add_error(None, self.refusal)
        self._check_revision(cleaned.get("revision"))
        if cleaned.get("visibility") == Template.Visibility.PARTNERS and not cleaned.get(
            "visible_to", [0]
        ):
            self.add_error("visible_to", "Choose at least one partner, or make it public.")
        if "tags" in cleaned:
            tags = dict.fromkeys(ascii_upper(tag.strip()) for tag in cleaned["tags"] if tag)
            if foreign := [tag for tag in tags if not tag.isascii()]:
                self.add_error("tags", f"Plain (ASCII) characters only: {', '.join(foreign)}.")
            else:
                cleaned["tags"] = list(tags)
        return cleaned

    def clean_name(self) -> str:
        """The name, unique among all templates that are not withdrawn, ignoring case."""
        name: str = self.cleaned_data["name"]
        if name_is_taken(name, self.instance):
            raise forms.ValidationError(NAME_TAKEN)
        return name

    def _check_revision(self, revision: str | None) -> None:
        """Refuse once to overwrite a later save; the page shown again may overwrite it."""
        current = self.instance.updated_at.isoformat()
        if not self.instance.pk or not revision or revision == current:
            return
        posted: Any = self.data
        again = posted.copy()
        again["revision"] = current
        self.data = again
        at = clock.to_ist(self.instance.updated_at)
        self.add_error(
            None,
            f"Somebody else changed this template since you opened it (at {at:%H:%M:%S} IST). "
            "What you typed is still below. Open the template in a second window to compare; "
            "save here again to put yours in place of theirs.",
        )
