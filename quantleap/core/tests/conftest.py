"""What the tests of the whole house share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.conf import LazySettings

if TYPE_CHECKING:
    from quantleap.core.tests.matrix.world import World


KITE, NOREN = "http://127.0.0.1:8901", "http://127.0.0.1:8902"


@pytest.fixture
def world(db: None, settings: LazySettings) -> Iterator[World]:
    """Everybody's things side by side, and silence: thousands of refusals are a line each.

    The brokers are those of the simulator, which does not run.
    """
    from quantleap.core.tests.matrix.world import make_world  # not before Django is set up

    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": KITE, "login": KITE, "instruments": ""},
        "zebu": {"api": NOREN, "login": NOREN, "instruments": ""},
    }
    logging.disable(logging.CRITICAL)
    yield make_world()
    logging.disable(logging.NOTSET)
