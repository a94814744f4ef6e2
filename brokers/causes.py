"""The meaning of brokers' texts: one table from text patterns to our :class:`Cause`.

Every broker phrases the same refusal differently and changes the text without notice, so the match
is by characteristic words. The clause that comes **first** decides: what follows is boilerplate ("…
for entity account-AB1 across exchange across segment across product") or advice ("… check the order
book for open orders"). General words ("invalid", "not allowed") decide only if no characteristic
word occurs; an unrecognised text is OTHER and is kept.

A text never makes a refusal retryable and never proves an empty book: only a documented code,
status or whole sentence does. A text can only take certainty away (:func:`is_ambiguous`). Where a
broker documents an error *type* beside its text, the type has priority (adapters).

Texts: Kite's exceptions (https://kite.trade/docs/connect/v3/exceptions/) and forum, the ``emsg``
and ``rejreason`` samples of the Noren API documents (https://github.com/Shoonya-Dev/ShoonyaApi-py),
and rejections in order books ("RMS:…" of older order systems, "RED:RULE:{…}" of Noren's).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from brokers.base import Cause

#: Texts that say that the outcome is unknown: a timeout inside the broker, or one of its systems
#: that did not answer another. Zerodha has returned its order system's timeout as HTTP 400 with
#: such a text, so these have priority over any status or type.
_AMBIGUOUS: Final = re.compile(
    r"time[sd]?[ -]?out|took too long|no response|not respond|gateway"
    r"|connection (?:reset|closed|lost|refused|aborted|failed)"
    r"|status (?:is )?unknown"
    r"|(?:couldn'?t|could not|can'?t|cannot|unable to|failed to) (?:connect|reach)"
    r"|no (?:database|db|oms|rms) connection|\bdatabase\b|\bdb (?:error|down)"
    r"|no data\b|data not received|no (?:answer|reply)"
    r"|\boms\b|order management system"
    r"|(?:adapter|exchange|server|system|service|rms|broker).{0,20}"
    r"(?:\bdown\b|not (?:connected|reachable|available)|disconnected|unavailable)"
    r"|unknown request|internal (?:server )?error|something went wrong|unexpected error"
    r"|temporar(?:y|ily)|try again (?:later|in)|under maintenance",
    re.IGNORECASE,
)

#: Characteristic words by cause. If two begin at the same position, the earlier row wins.
_TELL_TALES: Final[Sequence[tuple[Cause, str]]] = (
    # An "after market order" is a kind of order: that it is invalid says nothing about the market.
    (Cause.INVALID, r"invalid amo\b"),
    # Of one day, unlike those of a second or a minute: https://kite.trade/forum, comment 51118.
    (Cause.DAILY_LIMIT, r"maximum allowed (?:order )?requests|orders? per day|daily order limit"),
    (
        Cause.IP_NOT_REGISTERED,
        r"no ips? configured|not allowed to place orders for this app|unregistered ip"
        r"|\bip\b.{0,60}(?:not (?:allowed|registered|whitelisted)|mismatch)|static ip"
        r"|access restricted for api",
    ),
    (
        Cause.APP_NOT_PERMITTED,
        r"insufficient permission|permission denied"
        r"|\bapp(?:lication)? (?:is )?not (?:permitted|authori[sz]ed|approved)",
    ),
    (
        Cause.SESSION_EXPIRED,
        r"session ?(?:has )?expired|invalid session|token (?:is |has )?(?:invalid|expired)"
        r"|(?:invalid|expired) (?:access )?token|incorrect .{0,20}access_token|not logged in"
        r"|invalid access_token|session not found|session key",
    ),
    (
        Cause.RATE_LIMIT,
        r"too many (?:requests|orders)|rate limit|throttl|exceeding access rate"
        r"|(?:request|order) rate exceeds|orders? per (?:second|minute)"
        r"|order rec(?:ei|ie)ved .{0,40}(?:second|minute)",
    ),
    (
        Cause.POSITION_LIMIT,
        r"position (?:limit|size limit)|positions? .{0,30}(?:exceed|beyond).{0,20}limit"
        r"|\bmwpl\b|market[- ]wide.{0,20}limit|open interest.{0,40}(?:limit|exceed)|\boi limit"
        r"|net (?:position|quantity|qty).{0,30}(?:limit|exceed)|max(?:imum)? (?:open )?positions?",
    ),
    (
        Cause.FREEZE,
        r"freeze|maximum (?:allowed )?(?:order )?(?:quantity|qty)|max(?:imum)? lots?\b"
        r"|order (?:quantity|qty).{0,30}(?:exceed|above|beyond|more than|greater than)"
        r"|(?:quantity|qty) exceeds",
    ),
    (
        Cause.CONTRACT_RESTRICTED,
        r"strike(?: price)?.{0,40}(?:outside|beyond|not (?:allowed|permitted)|restricted|blocked)"
        r"|(?:contract|scrip|instrument|security|strike|symbol).{0,30}"
        r"(?:restricted|blocked|banned|suspended|not (?:allowed|permitted|enabled) (?:to|for) trad"
        r"|(?:is |are )?not tradable)"
        r"|\bban period|(?:current )?instrument state|only square[d]?[- ]?off .{0,20}allowed",
    ),
    (
        Cause.PRICE_BAND,
        r"circuit|price band|\bdpr\b|\blpp\b|execution range|price range|protection range"
        r"|option price check|max(?:imum)? price breach"
        r"|price.{0,30}(?:outside|beyond) (?:the )?(?:allowed|permitted|daily)"
        r"|price (?:is )?out of (?:the )?(?:\w+ )?range",
    ),
    (
        Cause.MARGIN,
        r"insufficient (?:fund|margin|balance|cash)|margin (?:shortfall|exceed|insufficient)"
        r"|required margin|rms ?: ?margin|red: ?margin|available margin|fund limit"
        r"|peak margin|span (?:limit|margin)|shortfall|need to add (?:rs|inr|₹)"
        r"|collateral|check (?:fund|cash|margin)",
    ),
    (
        Cause.RISK,
        r"m ?to ?m\b|\bm2m\b|mark[- ]to[- ]market|loss limit"
        r"|order value|(?:exposure|turnover|gross|net) limit|limit set for (?:the )?(?:client|user)"
        r"|exceeds? (?:the )?(?:client|user|account)'?s? limit"
        r"|holdings?\b|block type|rms ?: ?(?:blocked|auto)|continuous debit"
        r"|(?:client|account|user)(?: \w+)? (?:is )?(?:blocked|suspended|inactive|dormant)"
        r"|rrm mode|risk reduction|non-compliant|self[- ]trade|lt rate not found",
    ),
    (
        Cause.MARKET_CLOSED,
        r"markets? (?:is |are )?(?:closed|not open)|exchange is (?:closed|not open)"
        r"|after[ -]market|\bamo\b|trading (?:hours|session)|outside (?:market|trading) hours"
        r"|session (?:is )?closed",
    ),
    (
        Cause.SEGMENT,
        r"segment\b.{0,40}(?:not|disabled|inactive|deactivated|blocked)"
        r"|(?:not|isn'?t) (?:enabled|allowed|active|activated|permitted).{0,40}segment"
        r"|not enabled for|exchange (?:\w+ )?not (?:enabled|allowed)"
        r"|(?:nfo|bfo|f&o) (?:is )?not (?:enabled|active)",
    ),
    (
        Cause.PRODUCT,
        r"product\b.{0,40}(?:not|invalid|blocked|disallowed|unsupported)"
        r"|(?:invalid|unsupported|wrong).{0,15}product|\bprd\b|square[d]?[- ]?off (?:time|window)"
        r"|(?:mis|intraday|nrml|bo|co) (?:orders? )?(?:is |are )?"
        r"(?:blocked|not allowed|disallowed)",
    ),
    (
        Cause.BROKER_DOWN,
        r"server timeout|timed? ?out|unavailable|internal (?:server )?error|maintenance"
        r"|(?:oms|rms).{0,20}(?:down|not connected|not reachable)|something went wrong"
        r"|no (?:database|db|oms) connection|no data (?:received )?from|unknown request",
    ),
)

#: Used only if no characteristic word occurs: a broker's risk system without details, and words
#: that any refusal may contain.
_GENERAL: Final[Sequence[tuple[Cause, str]]] = (
    (Cause.RISK, r"^\W*(?:oems ?: ?)?(?:rms|red|rrm)\b|limit exceed|exceeds? .{0,20}limit"),
    (
        Cause.INVALID,
        r"invalid|missing|tick size|multiple of|lot size|not found|expired|unknown|mandatory"
        r"|required|not allowed|market orders?|market.?protection",
    ),
)

#: To whom and what a rule was applied: this kind of order system appends it to every rule.
_BOILERPLATE: Final = re.compile(
    r"\bfor entity\b|\bacross (?:exchange|segment|product)\b", re.IGNORECASE
)

_Table = Sequence[tuple[Cause, re.Pattern[str]]]


def _compiled(rows: Sequence[tuple[Cause, str]]) -> _Table:
    return tuple((cause, re.compile(pattern, re.IGNORECASE)) for cause, pattern in rows)


_FIRST: Final = _compiled(_TELL_TALES)
_LAST: Final = _compiled(_GENERAL)


def is_ambiguous(message: str) -> bool:
    """Whether the text says that the broker itself does not know the outcome of a request."""
    return _AMBIGUOUS.search(message) is not None


def cause_of(message: str, default: Cause = Cause.OTHER) -> Cause:
    """The normalised cause of a broker's text, ``default`` if it is not recognised."""
    boilerplate = _BOILERPLATE.search(message)
    said = message[: boilerplate.start()] if boilerplate else message
    matches = [
        (match.start(), place, cause)
        for place, (cause, pattern) in enumerate(_FIRST)
        if (match := pattern.search(said))
    ]
    if matches:
        return min(matches)[2]
    return next((cause for cause, pattern in _LAST if pattern.search(said)), default)
