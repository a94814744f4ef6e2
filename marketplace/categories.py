"""The catalogue's categories of templates. Pure."""

from __future__ import annotations

from typing import Final

CATEGORIES: Final = ("INCOME", "DIRECTIONAL", "VOLATILITY", "HEDGING", "EXPIRY_DAY", "OTHER")
