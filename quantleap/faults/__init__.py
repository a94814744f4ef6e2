"""Deliberate faults for the demo's controls: each breaks one thing, so that a check must notice.

``QUANTLEAP_FAULT`` names at most one. It is planted at the start of a process: a function or method
of the product, its seam, is wrapped from here, and the product knows nothing of it. The profiles
``local`` and ``test`` alone install this package; nobody else can import it (docs/adr/0058).
"""

from __future__ import annotations

from django.conf import settings

from quantleap.core.refusals import is_build, is_production

if is_production(settings) or is_build(settings):
    raise ImportError(
        "quantleap.faults breaks things on purpose: it is for developers' machines and tests"
    )
