"""All faults by name, as given in ``QUANTLEAP_FAULT``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from quantleap.faults import billing, execution, partners
from quantleap.faults.planting import Fault

FAULTS: Final[Mapping[str, Fault]] = {**execution.FAULTS, **partners.FAULTS, **billing.FAULTS}


def fault(name: str) -> Fault:
    """The fault with that name. Raises ImproperlyConfigured if there is none.

    A control that breaks nothing would prove nothing.
    """
    known = FAULTS.get(name)
    if known is None:
        raise ImproperlyConfigured(
            f"QUANTLEAP_FAULT names {name!r}, which is none of {', '.join(sorted(FAULTS))}."
        )
    return known
