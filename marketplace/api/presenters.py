"""Templates in the shape of the catalogue's answers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from marketplace.definition import (
    Definition,
    LegSpec,
    StrategySpec,
    leg_label,
    parse_definition,
    strategy_json,
)
from marketplace.descriptions import leg_words, strategy_words
from marketplace.models import Template, TemplateStats
from marketplace.selectors.payoff_preview import NoPicture, draw, picture_json
from quantleap.core.money import CURRENCY, ZERO, rupees, with_tax

PLATFORM_OWNER: Final = "admin_quantleap"


def definition_of(template: Template) -> Definition:
    """The version in force; an offered template always has one."""
    version = template.current_version
    return parse_definition(version.definition) if version else Definition(())


def _wall(wall: dt.time) -> str:
    """A time such as 09:20, with seconds only if they are not 0."""
    return wall.isoformat("minutes" if wall.second == 0 else "seconds")


@dataclass(frozen=True, slots=True)
class Taxation:
    """Tax on the caller's invoices: ``rate`` in percent, None if none is in force."""

    rate: Decimal | None
    within_state: bool

    def total(self, fee: Decimal | None) -> Decimal | None:
        """``fee`` with tax, as it will be billed; None if that is unknown."""
        if fee is None or self.rate is None:
            return None
        return with_tax(fee, self.rate, within_state=self.within_state)


def pricing(template: Template, taxation: Taxation) -> dict[str, Any]:
    """The fee in force for the caller, before and after tax.

    ``fee`` is annotated by ``offered``. Without a rate the total is unknown; a template that is
    followed but no longer on sale may have no fee.
    """
    free = template.pricing_type == Template.PricingType.FREE
    priced: Decimal | None = getattr(template, "fee", None)
    fee = ZERO if free else None if priced is None else rupees(priced)
    return {
        "type": template.pricing_type,
        "monthly_fee": fee,
        "currency": CURRENCY,
        "tax_rate_pct": taxation.rate,
        "monthly_total": taxation.total(fee),
    }


def _summary(template: Template, definition: Definition) -> dict[str, Any]:
    strategies = definition.strategies
    legs = [leg for strategy in strategies for leg in strategy.legs]
    expiries = {leg.expiry for leg in legs}
    expiry = next(iter(expiries)) if len(expiries) == 1 else "MIXED"
    return {
        "index": template.index,
        "entry_time": _wall(min(strategy.entry_time for strategy in strategies)),
        "exit_time": _wall(max(strategy.exit_time for strategy in strategies)),
        "num_legs": None if template.black_box else len(legs),
        "expiry_type": None if template.black_box else expiry,
        "num_strategies": len(strategies),
    }


def _subscribers(template: Template) -> int:
    stats: TemplateStats | None = getattr(template, "stats", None)
    return stats.subscriber_count if stats else 0


def template_row(template: Template, taxation: Taxation) -> dict[str, Any]:
    """One template of the list (shape: TemplateShape), without a query."""
    definition = definition_of(template)
    summary = _summary(template, definition)
    price = pricing(template, taxation)
    count = _subscribers(template)
    version = template.current_version
    return {
        "template_id": template.public_id,
        "basket_id": template.public_id,
        "template_owner_id": PLATFORM_OWNER,
        "name": template.name,
        "description": template.description,
        "category": template.category,
        "index": template.index,
        "entry_time": summary["entry_time"],
        "difficulty_level": template.difficulty,
        "difficulty": template.difficulty,
        "tags": template.tags,
        "subscriber_count": count,
        "pricing": price,
        "marketplace_config": {
            "is_template": True,
            "visibility": template.visibility,
            "category": template.category,
            "difficulty_level": template.difficulty,
            "tags": template.tags,
            "pricing": price,
        },
        "performance": {
            "subscriber_count": count,
            "avg_monthly_return_pct": None,
            "max_drawdown_pct": None,
            "win_rate_pct": None,
        },
        "performance_metrics": {
            "win_rate": None,
            "avg_monthly_return": None,
            "max_drawdown": None,
            "sharpe_ratio": None,
            "trading_days": 0,
            "verified": False,
            "as_of": None,
        },
        "strategy_summary": summary,
        "version": version.number if version else 0,
        "created_at": template.created_at,
        "updated_at": version.published_at if version else template.updated_at,
    }


def _leg(leg: LegSpec, data: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in data.items() if name != "key"}
    return {"label": leg_label(leg), **shown, "words": leg_words(leg)}


def _strategy(strategy: StrategySpec, *, black_box: bool) -> dict[str, Any]:
    data = strategy_json(strategy)
    del data["key"]
    legs = data.pop("legs")
    hidden = ("order_rule", "square_off", "move_to_cost", "leg_failure")
    if black_box:
        return {**data, **dict.fromkeys(hidden), "rules": [], "legs": []}
    return {
        **data,
        "rules": strategy_words(strategy),
        "legs": [_leg(leg, row) for leg, row in zip(strategy.legs, legs, strict=True)],
    }


def template_detail(
    template: Template, taxation: Taxation, *, open_to_new: bool = True
) -> dict[str, Any]:
    """One template with strategies and disclosure, without its pay-off."""
    definition = definition_of(template)
    return {
        **template_row(template, taxation),
        "open_to_new": open_to_new,
        "black_box": template.black_box,
        "strategies": [
            _strategy(strategy, black_box=template.black_box) for strategy in definition.strategies
        ],
        "payoff_preview": [],
        "disclosure": {
            "required": template.requires_disclosure,
            "version": template.disclosure_version,
            "text": template.disclosure,
        },
    }


def payoff_preview(template: Template, now: dt.datetime) -> list[dict[str, Any]]:
    """An estimated pay-off per strategy; empty for a black box, or if nothing can be drawn."""
    if template.black_box:
        return []
    pictures: list[dict[str, Any]] = []
    for strategy in definition_of(template).strategies:
        try:
            pictures.append(picture_json(draw(strategy, now)))
        except NoPicture:
            continue
    return pictures
