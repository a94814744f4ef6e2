"""Reads of the room marketplace."""

from marketplace.selectors.catalogue import price_in_force
from marketplace.selectors.market import (
    ContractInfo,
    contract_ids,
    contract_info,
    expiries,
    ladder,
    ladder_name,
    load_calendar,
    load_market,
    lots_per_order,
    strikes,
)
from marketplace.selectors.templates import (
    draft_definition,
    exchanges_traded,
    leg_spec,
    name_is_taken,
    strategies_for_day,
    strategy_spec,
    unpublished,
)

__all__ = [
    "ContractInfo",
    "contract_ids",
    "contract_info",
    "draft_definition",
    "exchanges_traded",
    "expiries",
    "ladder",
    "ladder_name",
    "leg_spec",
    "load_calendar",
    "load_market",
    "lots_per_order",
    "name_is_taken",
    "price_in_force",
    "strategies_for_day",
    "strategy_spec",
    "strikes",
    "unpublished",
]
