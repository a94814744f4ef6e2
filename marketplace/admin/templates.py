"""The template page: write, save, publish, compare, close, withdraw (docs/authoring.md)."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from unfold.enums import ActionVariant

from marketplace.admin.editor import DraftEditor
from marketplace.admin.forms import PriceForm, TemplateForm
from marketplace.admin.publishing import TemplateActions
from marketplace.models import Price, Template, TemplateStats
from marketplace.ports import PARTNERS
from marketplace.presets import STARTING_POINTS, starting_point
from marketplace.selectors import load_market, unpublished
from marketplace.selectors.payoff_preview import NoPicture, draw, picture_json
from marketplace.selectors.template_summary import standing
from marketplace.services import set_price
from marketplace.services.drafts import replace_draft
from marketplace.validation import Market
from quantleap.core import clock
from quantleap.core.admin import DatedValueInline, action, display
from quantleap.core.audit import Actor
from quantleap.core.errors import DomainError

REFUSED: Final = (
    "Somebody else saved the same at the same moment. What you typed is still below: "
    "check it and save again."
)

STATE_COLOURS: Final = {
    Template.State.DRAFT: "info",
    Template.State.LISTED: "success",
    Template.State.CLOSED_TO_NEW: "warning",
    Template.State.WITHDRAWN: "danger",
}


NEVER: Final = "Never published"
CHANGED: Final = "Unpublished changes"


class DraftFilter(admin.SimpleListFilter):
    """Filter for templates whose draft differs from the version in force."""

    title = "draft"
    parameter_name = "draft"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The three choices."""
        return [("changed", CHANGED), ("published", "As published"), ("never", NEVER)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Templates of the chosen kind; compares each draft with its version."""
        value = self.value()
        if value == "never":
            return queryset.filter(current_version__isnull=True)
        if value not in ("changed", "published"):
            return queryset
        mine = Template.objects.filter(owner=Template.Owner.PLATFORM).exclude(
            state=Template.State.WITHDRAWN
        )
        changed = unpublished(mine.values_list("pk", flat=True))
        if value == "changed":
            return queryset.filter(pk__in=changed)
        published = queryset.filter(current_version__isnull=False)
        return published.exclude(pk__in=changed).exclude(state=Template.State.WITHDRAWN)


class PriceInline(DatedValueInline):
    """Dated fees. A row is never edited: a new one follows it, or supersedes it on the same day."""

    model = Price
    form = PriceForm
    fields = (
        "tier",
        "monthly_fee",
        "partner",
        "effective_from",
        "effective_until",
        "reason",
        "large_change",
    )
    hide_title = True
    verbose_name_plural = "Prices (rupees a month, before GST)"

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """1 for a new template, so that it begins with a row to fill, otherwise none."""
        return 0 if obj else 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """The formset; reads the partners' names once for all rows."""
        self._names = PARTNERS.get()()
        return super().get_formset(request, obj, **kwargs)

    @admin.display(description="For")
    def partner(self, price: Price) -> str:
        """The partner for whom a stored price is."""
        if price.partner_id is None:
            return "Everybody"
        return self._names.get(price.partner_id, f"partner {price.partner_id}, which is unknown")


@admin.register(Template)
class TemplateAdmin(TemplateActions):
    """Templates with their strategies and legs on one page."""

    form = TemplateForm
    change_form_template = "admin/marketplace/template/change_form.html"
    list_display = (
        "name",
        "state_label",
        "version_number",
        "draft_label",
        "index",
        "subscribers",
        "visibility",
    )
    list_filter = ("state", DraftFilter, "index", "visibility", "difficulty", "pricing_type")
    search_fields = ("name", "=public_id")
    list_select_related = ("current_version", "stats")
    ordering = ("-created_at", "-id")
    inlines = (PriceInline,)
    actions = None
    actions_submit_line = ("save_and_publish",)
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        (
            "Catalogue",
            {
                "classes": ("tab",),
                "fields": ("index", "category", "difficulty", "tags", "pricing_type", "sac"),
            },
        ),
        (
            "Who sees it",
            {"classes": ("tab",), "fields": ("visibility", "visible_to", "black_box")},
        ),
        ("Disclosure", {"classes": ("tab",), "fields": ("requires_disclosure", "disclosure")}),
    )

    class Media:
        css = {"all": ("marketplace/authoring.css",)}
        js = ("marketplace/authoring.js", "marketplace/picture.js")

    # -- list ------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Template]:
        """The platform's own templates of both environments; staff do not edit customers'
        templates."""
        queryset: QuerySet[Template] = super().get_queryset(request)
        return queryset.filter(owner=Template.Owner.PLATFORM)

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_label(self, template: Template) -> tuple[str, str]:
        """The state's label and colour."""
        return template.state, template.get_state_display()

    @admin.display(description="Version", ordering="current_version__number")
    def version_number(self, template: Template) -> str:
        """Number of the version in force."""
        return str(template.current_version.number) if template.current_version else "-"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with rows that know whether their draft was published."""
        shown: Any = super().get_changelist_instance(request)
        changed = unpublished([row.pk for row in shown.result_list])
        for row in shown.result_list:
            row.draft_differs = row.pk in changed
        return shown

    @display(description="Draft", label={CHANGED: "warning", NEVER: "info"})
    def draft_label(self, template: Any) -> str:
        """Whether the template's page shows what subscribers trade."""
        if template.state == Template.State.WITHDRAWN:
            return "–"
        if template.current_version is None:
            return NEVER
        return CHANGED if template.draft_differs else "As published"

    @admin.display(description="Subscribers", ordering="stats__subscriber_count")
    def subscribers(self, template: Template) -> int:
        """The number of subscribers, from the counter beside the template."""
        stats = getattr(template, "stats", None)
        return stats.subscriber_count if stats else 0

    def get_urls(self) -> list[URLPattern]:
        """The URLs, with the pay-off picture's before those of single templates."""
        picture = path(
            "payoff/",
            self.admin_site.admin_view(self.payoff_view),
            name="marketplace_template_payoff",
        )
        return [picture, *super().get_urls()]

    def payoff_view(self, request: HttpRequest) -> JsonResponse:
        """Pay-off of the strategies in the posted form; nothing is saved.

        ``pictures`` as in the catalogue's preview; ``notes`` say what could not be drawn, and why.
        """
        if request.method != "POST" or not self.has_view_permission(request):
            raise PermissionDenied
        editor = DraftEditor(data=request.POST, definition=None, market=_market(request))
        editor.is_valid()
        now = clock.now()
        pictures: list[dict[str, Any]] = []
        notes = list(editor.gaps)
        for strategy in editor.sound:
            if not strategy.legs:
                continue  # nothing is wrong yet, and there is nothing to draw
            try:
                pictures.append(picture_json(draw(strategy, now)))
            except NoPicture as reason:
                notes.append(f"{strategy.name}: {reason}")
        return JsonResponse({"pictures": pictures, "notes": notes})

    # -- form ------------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with today's market, filled from the preset that the address names."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.market = _market(request)
        form.start = None if change else starting_point(request.GET.get("start", ""))
        form.refusal = vars(request).get("_refusal", "")
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Catalogue fields of the chosen preset."""
        start = starting_point(request.GET.get("start", ""))
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        initial.pop("start", None)
        strategy = start.definition.strategies[0]
        return {
            "name": start.name,
            "tags": list(start.tags),
            "index": strategy.underlying,
        } | initial

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The page with a single save button that stays on the page, because publishing comes next.

        If the database refuses at the last moment (somebody has taken the name meanwhile), the form
        is validated again, reports that and keeps everything that was typed.
        """
        context = {
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
            "starting_points": STARTING_POINTS,
            "start_slug": request.GET.get("start", ""),
            **(extra_context or {}),
        }
        try:
            return self._one_at_a_time(request, object_id, form_url, context)
        except (IntegrityError, DomainError) as refused:
            if request.method != "POST":
                raise
            vars(request)["_refusal"] = (
                refused.message if isinstance(refused, DomainError) else REFUSED
            )
            return self._one_at_a_time(request, object_id, form_url, context)

    def _one_at_a_time(
        self, request: HttpRequest, object_id: str | None, form_url: str, context: dict[str, Any]
    ) -> Any:
        """Make concurrent saves of one template wait for each other, so that the second sees the
        first."""
        with transaction.atomic():
            number = object_id or ""
            if request.method == "POST" and number.isascii() and number.isdigit():
                Template.objects.select_for_update().filter(pk=number).first()
            return super().changeform_view(request, object_id, form_url, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what subscribers trade now, beside the draft that the page shows."""
        template = kwargs.get("obj")
        context["editor_locked"] = template is not None and not self.has_change_permission(
            request, template
        )
        if template is not None:
            context["standing"] = standing(template, clock.now())
            context["may_publish"] = self.has_publish_permission(request, template)
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: bool) -> None:
        """Save the catalogue fields, which take effect at once; a changed disclosure text is a new
        disclosure version."""
        obj.updated_at = clock.now()
        if change and obj.current_version_id and "disclosure" in form.changed_data:
            obj.disclosure_version += 1
        super().save_model(request, obj, form, change)
        TemplateStats.objects.get_or_create(template=obj)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Save prices through their service, which supersedes and audits them."""
        if formset.model is not Price:
            super().save_formset(request, form, formset, change)
            return
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        for row in formset.forms:
            if row.has_changed():
                price = set_price(
                    template_id=form.instance.pk,
                    terms=row.terms,
                    actor=Actor.staff(request.user),
                    now=clock.now(),
                )
                formset.new_objects.append(price)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save prices, then the draft's strategies and legs, in the request's transaction."""
        super().save_related(request, form, formsets, change)
        replace_draft(
            template_id=form.instance.pk,
            definition=form.editor.definition,
            actor=Actor.staff(request.user),
            now=clock.now(),
        )
        connection.check_constraints()  # deferred ones too, before the page says "saved"

    def response_add(
        self, request: HttpRequest, obj: Model, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return to the page, or continue to publishing."""
        super().response_add(request, obj, post_url_continue)  # adds its message
        return self._onward(request, obj)

    def response_change(self, request: HttpRequest, obj: Model) -> HttpResponse:
        """Return to the page, or continue to publishing."""
        super().response_change(request, obj)  # adds its message
        return self._onward(request, obj)

    def _onward(self, request: HttpRequest, obj: Model) -> HttpResponse:
        name = "publish" if "_publish" in request.POST else "change"
        return HttpResponseRedirect(reverse(f"admin:marketplace_template_{name}", args=[obj.pk]))

    # -- permissions by state -------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Unless the template is withdrawn, and so part of history."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and getattr(obj, "state", "") != Template.State.WITHDRAWN

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only for a draft that was never published, because nothing refers to it yet."""
        draft = isinstance(obj, Template) and obj.current_version_id is None
        user = request.user
        return draft and user.has_perm("marketplace.delete_template")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The draft's prices are deleted with it: no subscription can refer to them."""
        shown, counts, lacking, _protected = super().get_deleted_objects(objs, request)
        return shown, counts, lacking, []

    def delete_model(self, request: HttpRequest, obj: Template) -> None:
        """Delete the prices first, because they protect their template."""
        obj.prices.all().delete()
        super().delete_model(request, obj)

    @action(
        description="Save and publish…",
        permissions=["publish"],
        attrs={"name": "_publish"},
        variant=ActionVariant.PRIMARY,
    )
    def save_and_publish(self, request: HttpRequest, obj: Template) -> None:
        """A button beside Save; ``_onward`` decides where it leads."""


def _market(request: HttpRequest) -> Market:
    """Today's market, loaded once per request."""
    market: Market | None = request.__dict__.get("_market")
    if market is None:
        today: dt.date = clock.ist_date(clock.now())
        market = load_market(today)
        request.__dict__["_market"] = market
    return market
