"""How long to wait before the same request goes to a broker again. Pure; all in seconds."""

from __future__ import annotations

from typing import Final

#: How long an exit may rest before it gets a new price.
EXIT_REST_SECONDS: Final = 3.0
EXIT_BACKOFF: Final = (0.0, 0.25, 1.0, 3.0)
EXIT_BACKOFF_MAX: Final = 5.0
#: Wait after a cancel without effect, doubled each time.
CANCEL_AGAIN: Final = 3.0
CANCEL_AGAIN_MAX: Final = 30.0
#: A refused price is likely to be refused again: the wait doubles with each try, up to 30 s.
PRICE_BACKOFF: Final = 1.0
PRICE_BACKOFF_TOLD: Final = 0.25
PRICE_BACKOFF_MAX: Final = 30.0


def price_backoff(attempt_group: int, *, told: bool) -> float:
    """Seconds to wait after the ``attempt_group``-th exit try was refused for its price.

    ``told``: the refusal named the permitted band, so the next price is not a guess.
    """
    first = PRICE_BACKOFF_TOLD if told else PRICE_BACKOFF
    return min(first * 2.0 ** min(attempt_group, 10), PRICE_BACKOFF_MAX)


def exit_backoff(attempt_group: int) -> float:
    """Seconds to wait after the ``attempt_group``-th exit try ended without closing the leg."""
    following = attempt_group + 1
    return EXIT_BACKOFF[following] if following < len(EXIT_BACKOFF) else EXIT_BACKOFF_MAX


def cancel_backoff(cancels: int) -> float:
    """Seconds to wait after the ``cancels``-th cancel of an order had no effect."""
    return min(CANCEL_AGAIN * 2.0 ** min(max(cancels - 1, 0), 10), CANCEL_AGAIN_MAX)
