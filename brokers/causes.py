"""What a broker's words mean: one table from their texts to our :class:`Cause`.

Every broker words the same refusal its own way and changes it without notice, so the match is by
tell-tale words, most specific first; whatever is not recognised is OTHER and the words are kept.
Sources: reference/brokers.md 1.3, 2 and 5; execution.md section 5 (the list of causes).
"""

from __future__ import annotations

import re

from brokers.base import Cause

#: Words that say "we do not know what became of it". Zerodha has returned its own order-system
#: timeout as HTTP 400 with such a text, so they beat whatever status or type comes with them.
_AMBIGUOUS = re.compile(
    r"time[sd]?[ -]?out|took too long|no response|not respond|gateway"
    r"|connection (?:reset|closed|lost)"
    r"|status (?:is )?unknown"
    r"|(?:couldn'?t|could not|unable to|failed to) connect",
    re.IGNORECASE,
)

_TABLE: tuple[tuple[Cause, re.Pattern[str]], ...] = tuple(
    (cause, re.compile(pattern, re.IGNORECASE))
    for cause, pattern in (
        (
            Cause.IP_NOT_REGISTERED,
            r"no ips? configured|not allowed to place orders for this app|unregistered ip"
            r"|\bip\b.{0,60}(?:not (?:allowed|registered|whitelisted)|mismatch)|static ip"
            r"|access restricted for api",
        ),
        (
            Cause.SESSION_EXPIRED,
            r"session ?(?:has )?expired|invalid session|token (?:is |has )?(?:invalid|expired)"
            r"|(?:invalid|expired) (?:access )?token|incorrect .{0,20}access_token|not logged in"
            r"|invalid access_token|session not found|session key",
        ),
        (
            Cause.RATE_LIMIT,
            r"too many requests|rate limit|exceeds limit|exceeding access rate"
            r"|maximum allowed (?:order )?requests|orders? per (?:second|minute)",
        ),
        (Cause.FREEZE, r"freeze|maximum (?:allowed )?(?:order )?quantity|max(?:imum)? lot"),
        (
            Cause.PRICE_BAND,
            r"circuit|price band|\bdpr\b|\blpp\b|execution range|price range|protection range"
            r"|outside the (?:allowed|permitted) range|price (?:is )?out of range",
        ),
        (
            Cause.MARGIN,
            r"insufficient (?:fund|margin|balance|cash)|margin (?:shortfall|exceed|insufficient)"
            r"|required margin|rms: ?margin|red: ?margin|available margin|fund limit",
        ),
        (
            Cause.MARKET_CLOSED,
            r"markets? (?:is |are )?(?:closed|not open)|exchange is (?:closed|not open)"
            r"|after[ -]market|\bamo\b|trading (?:hours|session)|outside (?:market|trading) hours"
            r"|session (?:is )?closed",
        ),
        (
            Cause.SEGMENT,
            r"segment|not enabled for|exchange not (?:enabled|allowed)"
            r"|(?:nfo|bfo|f&o) (?:is )?not (?:enabled|active)",
        ),
        (
            Cause.PRODUCT,
            r"product|\bprd\b|square[d]?[- ]?off (?:time|window)"
            r"|(?:mis|intraday|nrml|bo|co) (?:orders? )?(?:is |are )?"
            r"(?:blocked|not allowed|disallowed)",
        ),
        (
            Cause.BROKER_DOWN,
            r"server timeout|timed? ?out|unavailable|internal (?:server )?error|maintenance"
            r"|(?:oms|rms).{0,20}(?:down|not connected|not reachable)|something went wrong",
        ),
        (
            Cause.INVALID,
            r"invalid|missing|tick size|multiple of|lot size|not found|expired|unknown|mandatory"
            r"|required|not allowed|market orders?|market.?protection",
        ),
    )
)


def is_ambiguous(message: str) -> bool:
    """Whether the text says that the broker itself does not know (a timeout behind its door)."""
    return _AMBIGUOUS.search(message) is not None


def cause_of(message: str, default: Cause = Cause.OTHER) -> Cause:
    """The normalised cause of a broker's words, ``default`` when they are not recognised."""
    for cause, pattern in _TABLE:
        if pattern.search(message):
            return cause
    return default
