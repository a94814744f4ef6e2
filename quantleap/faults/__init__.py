"""Deliberate faults for the demo's controls: each breaks one thing that a check must notice.

``QUANTLEAP_FAULT`` names at most one, which is planted when a process starts: a function or method
of the product, its seam, is wrapped from here, and the product does not know about it. Only the
profiles ``local`` and ``test`` install this package; all others cannot import it (docs/adr/0058).
"""

from __future__ import annotations

from django.conf import settings

from quantleap.core.production_checks import is_build, is_production

if is_production(settings) or is_build(settings):
    raise ImportError(
        "quantleap.faults breaks things on purpose: it is for developers' machines and tests"
    )
