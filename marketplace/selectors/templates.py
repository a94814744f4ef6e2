"""Templates as drafts, and as traded."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db.models import Func, QuerySet, TextField, Value
from django.db.models.functions import Lower

from marketplace.definition import (
    Definition,
    DefinitionError,
    LegSpec,
    RuleSpec,
    StrategySpec,
    parse_definition,
    parse_rule,
)
from marketplace.models import Leg, Strategy, Template, TemplateVersion, Underlying


def _rule(value: object, path: str) -> RuleSpec | None:
    return None if value is None else parse_rule(value, path)


def leg_spec(leg: Leg) -> LegSpec:
    """The draft leg as a plain value."""
    return LegSpec(
        key=str(leg.key),
        side=leg.side,
        option_type=leg.option_type,
        lots=leg.lots,
        expiry=leg.expiry,
        strike=parse_rule(leg.strike, "strike"),
        stop=_rule(leg.stop, "stop"),
        target=_rule(leg.target, "target"),
    )


def strategy_spec(strategy: Strategy) -> StrategySpec:
    """The draft strategy with its legs as a plain value."""
    return StrategySpec(
        key=str(strategy.key),
        name=strategy.name,
        underlying=strategy.underlying.symbol,
        entry_time=strategy.entry_time,
        exit_time=strategy.exit_time,
        weekdays=tuple(sorted(strategy.weekdays)),
        special_sessions=strategy.special_sessions,
        product=strategy.product,
        order_rule=strategy.order_rule,
        square_off=strategy.square_off,
        move_to_cost=strategy.move_to_cost,
        leg_failure=strategy.leg_failure,
        legs=tuple(leg_spec(leg) for leg in strategy.legs.all()),
    )


def draft_definition(template_id: int) -> Definition:
    """What publishing would freeze now (two queries). DefinitionError for an invalid rule."""
    return _definition(_drafts([template_id]))


def name_is_taken(name: str, template: Template) -> bool:
    """Whether another template of the environment, not withdrawn, has this name."""
    others = Template.objects.filter(
        environment=template.environment, owner=Template.Owner.PLATFORM
    ).exclude(state=Template.State.WITHDRAWN)
    same = others.annotate(lowered=Lower("name")).filter(lowered=Lower(Value(name)))
    return same.exclude(pk=template.pk).exists()


def unpublished(template_ids: Collection[int]) -> set[int]:
    """Those of the given templates that are published and whose draft has changed since.

    Three queries, however many templates. A draft with an invalid rule counts as changed.
    """
    current = dict(
        Template.objects.filter(pk__in=template_ids, current_version__isnull=False).values_list(
            "pk", "current_version__definition"
        )
    )
    drafts: dict[int, list[Strategy]] = {pk: [] for pk in current}
    for strategy in _drafts(current):
        drafts[strategy.template_id].append(strategy)
    return {pk for pk, draft in drafts.items() if _differs(current[pk], draft)}


def _drafts(template_ids: Collection[int]) -> QuerySet[Strategy]:
    return (
        Strategy.objects.filter(template_id__in=template_ids)
        .select_related("underlying")
        .prefetch_related("legs")
        .order_by("position", "id")
    )


def _definition(drafts: Iterable[Strategy]) -> Definition:
    return Definition(tuple(strategy_spec(strategy) for strategy in drafts))


def _differs(published: object, drafts: Iterable[Strategy]) -> bool:
    try:
        return parse_definition(published) != _definition(drafts)
    except DefinitionError:
        return True


def exchanges_traded() -> set[str]:
    """Exchange segments (NFO, BFO) of every underlying that a published template trades.

    By the current versions of both environments; one query.
    """
    symbols = (
        TemplateVersion.objects.filter(
            pk__in=Template.objects.filter(state__in=Template.ENTERING).values("current_version")
        )
        .annotate(symbol=_Underlyings("definition"))
        .values("symbol")
    )
    traded = Underlying.objects.filter(symbol__in=symbols).order_by()
    return set(traded.values_list("exchange", flat=True).distinct())


class _Underlyings(Func):
    """The underlyings in a stored definition, one row each."""

    template = "jsonb_path_query(%(expressions)s, '$.strategies[*].underlying') #>> '{}'"
    output_field = TextField()
    set_returning = True


def strategies_for_day(environment: str) -> list[tuple[int, str, int, Definition]]:
    """(template id, public id, version id, definition) of every template that may enter today.

    Templates that are LISTED or CLOSED_TO_NEW, each with its current version; one query. The
    definition contains weekdays and times.
    """
    rows = (
        Template.objects.filter(
            environment=environment,
            state__in=Template.ENTERING,
            current_version__isnull=False,
        )
        .order_by("id")
        .values_list("id", "public_id", "current_version_id", "current_version__definition")
    )
    return [
        (template_id, public_id, version_id or 0, parse_definition(definition))
        for template_id, public_id, version_id, definition in rows
    ]
