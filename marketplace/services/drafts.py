"""Saves a draft's strategies and legs as a whole."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from marketplace.definition import Definition, LegSpec, RuleSpec, StrategySpec
from marketplace.diff import changes
from marketplace.models import Leg, Strategy, Template, Underlying
from marketplace.selectors import draft_definition
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest, NotFound


def _rule_json(rule: RuleSpec | None) -> dict[str, Any] | None:
    return None if rule is None else {"kind": rule.kind, "params": dict(rule.params)}


def _leg_values(spec: LegSpec) -> dict[str, Any]:
    return {
        "side": spec.side,
        "option_type": spec.option_type,
        "lots": spec.lots,
        "expiry": spec.expiry,
        "strike": _rule_json(spec.strike),
        "stop": _rule_json(spec.stop),
        "target": _rule_json(spec.target),
    }


def _strategy_values(spec: StrategySpec, underlying_id: int) -> dict[str, Any]:
    return {
        "name": spec.name,
        "underlying_id": underlying_id,
        "entry_time": spec.entry_time,
        "exit_time": spec.exit_time,
        "weekdays": list(spec.weekdays),
        "special_sessions": spec.special_sessions,
        "product": spec.product,
        "order_rule": spec.order_rule,
        "square_off": spec.square_off,
        "move_to_cost": spec.move_to_cost,
        "leg_failure": spec.leg_failure,
    }


@transaction.atomic
def replace_draft(
    *, template_id: int, definition: Definition, actor: Actor, now: dt.datetime
) -> int:
    """Make the draft equal to ``definition``; returns how many fields changed.

    Strategies and legs with a known key keep their row; an empty key creates a new row with a new
    key; rows that ``definition`` does not name are removed. Published versions do not change, and
    whether the draft can be traded is only checked at publication. InvalidRequest for a key that is
    not of this template, an unknown underlying or a duplicate strategy name; NotFound.
    """
    names = [strategy.name for strategy in definition.strategies]
    if len(set(names)) != len(names):
        raise InvalidRequest("Two strategies have the same name; choose different ones.")
    template = Template.objects.select_for_update().filter(pk=template_id).first()
    if template is None:
        raise NotFound
    before = draft_definition(template_id)
    underlyings = dict(Underlying.objects.values_list("symbol", "id"))
    rows = {str(row.key): row for row in Strategy.objects.filter(template=template)}
    saved: list[int] = []
    for position, spec in enumerate(definition.strategies):
        if spec.underlying not in underlyings:
            raise InvalidRequest(f"{spec.underlying} is not traded here.")
        strategy = _row(rows, spec.key, Strategy, "strategy") or Strategy(template=template)
        for name, value in _strategy_values(spec, underlyings[spec.underlying]).items():
            setattr(strategy, name, value)
        strategy.position = position
        strategy.save()
        saved.append(strategy.pk)
        _replace_legs(strategy, spec.legs)
    Strategy.objects.filter(template=template).exclude(pk__in=saved).delete()
    changed = changes(before, draft_definition(template_id))
    if changed:
        Template.objects.filter(pk=template_id).update(updated_at=now)
        audit.record(
            actor=actor,
            action="template.draft_saved",
            target_type="template",
            target_id=template.public_id,
            environment=template.environment,
            data={
                "changes": [
                    {"place": c.place, "field": c.field, "before": c.before, "after": c.after}
                    for c in changed
                ]
            },
        )
    return len(changed)


def _row(rows: dict[str, Any], key: str, kind: type, what: str) -> Any:
    """The row with that key, removed from ``rows`` so that no key is used twice."""
    if not key:
        return None
    row = rows.pop(key, None)
    if not isinstance(row, kind):
        raise InvalidRequest(f"This template has no {what} {key}; reload the page.")
    return row


def _replace_legs(strategy: Strategy, legs: Sequence[LegSpec]) -> None:
    rows = {str(row.key): row for row in Leg.objects.filter(strategy=strategy)}
    saved: list[int] = []
    for position, spec in enumerate(legs):
        leg = _row(rows, spec.key, Leg, "leg") or Leg(strategy=strategy, key=uuid.uuid4())
        for name, value in _leg_values(spec).items():
            setattr(leg, name, value)
        leg.position = position
        leg.save()
        saved.append(leg.pk)
    Leg.objects.filter(strategy=strategy).exclude(pk__in=saved).delete()
