"""``manage.py seed_templates``: publish two demo templates."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.db import transaction

from marketplace.models import Template
from marketplace.presets import starting_point
from marketplace.services import PriceTerms, publish, set_price
from marketplace.services.drafts import replace_draft
from quantleap.core import clock
from quantleap.core.audit import SYSTEM
from quantleap.core.errors import InvalidRequest

# Preset, category, difficulty, monthly fee in rupees (None: free).
DEMO: Final = (
    ("iron_condor", "INCOME", "INTERMEDIATE", Decimal("999.00")),
    ("short_straddle", "VOLATILITY", "ADVANCED", None),
)


class Command(BaseCommand):
    """Idempotent by name. Without contracts a template stays a draft that staff can publish."""

    help = "Publish the two demo templates."

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the missing templates."""
        now = clock.now()
        for slug, category, difficulty, fee in DEMO:
            name = starting_point(slug).name
            template = Template.objects.filter(name=name).first()
            if template is None:
                template = _draft(slug, category, difficulty, fee, now)
            if template.state == Template.State.DRAFT:
                self._publish(template, now)
        self.stdout.write(f"templates: {len(DEMO)} demo templates")

    def _publish(self, template: Template, now: dt.datetime) -> None:
        try:
            publish(template_id=template.pk, actor=SYSTEM, note="First version", now=now)
        except InvalidRequest as error:
            self.stdout.write(f"templates: {template.name} stays a draft: {error.message}")


@transaction.atomic
def _draft(
    slug: str, category: str, difficulty: str, fee: Decimal | None, now: dt.datetime
) -> Template:
    """A template filled from its preset."""
    start = starting_point(slug)
    template = Template.objects.create(
        name=start.name,
        description=start.description,
        category=category,
        index=start.definition.strategies[0].underlying,
        difficulty=difficulty,
        tags=list(start.tags),
        pricing_type=Template.PricingType.FREE if fee is None else Template.PricingType.PAID,
        created_at=now,
        updated_at=now,
    )
    if fee is not None:
        terms = PriceTerms(monthly_fee=fee, effective_from=clock.ist_date(now))
        set_price(template_id=template.pk, terms=terms, actor=SYSTEM, now=now)
    replace_draft(template_id=template.pk, definition=start.definition, actor=SYSTEM, now=now)
    return template
