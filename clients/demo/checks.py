"""Checks of the day and its month. Pure: from a story and the evidence to figures and named checks.

Every check covers one thing and ignores what other checks cover: an unresolved order fails only
``all_final``, an order that was never planned only ``planned_as_expected``, a duplicate's units
only ``no_duplicates``. So breaking one thing turns exactly one of them false (``make
demo-controls``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from clients.demo.day import Day, Part
from clients.demo.evidence import ENTERED, BookOrder, Evidence, Execution, Order
from clients.demo.moneychecks import (
    billed_once,
    commission_matches,
    invoice_documents,
    ledger_balances,
    money_figures,
    payments_settle,
    receivable_matches,
)
from clients.demo.story import CANCELLED, FILLED, PAUSED, STRADDLE, Customer, Plan, Story
from clients.demo.told import WebhookKey, delivered_webhooks, expected_webhooks
from clients.demo.twice import CLIENTS, entry_at
from clients.demo.twicechecks import twice_figures, two_partners_one_account

TIME_LIMIT: Final = 360.0
TICK: Final = Decimal("0.05")
Problems = Iterator[str]


@dataclass(frozen=True)
class Verdict:
    """Figures of the report, and problems by check (an empty list: the check passed)."""

    figures: dict[str, Any]
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def checks(self) -> dict[str, bool]:
        """Whether each check passed, by name."""
        return {name: not problems for name, problems in self.problems.items()}

    @property
    def holds(self) -> bool:
        """Whether all checks passed."""
        return all(self.checks.values())


# -- the checks: each yields problems
# ---------------------------------------------------------------
def planned_as_expected(day: Day) -> Problems:
    """Exactly the orders of the story were planned for every subscriber: contract, side, units."""
    for part in day.parts:
        if not day.is_whole(part):
            expected = sum(day.planned(part.expected).values())
            yield f"{part.name}: {len(part.entries)} orders planned, the story has {expected}"


def filled_or_named(day: Day) -> Problems:
    """Planned orders were filled, or failed with the cause that the story names."""
    for part in day.parts:
        if not part.is_resolved or part.seen is None:
            continue
        if not day.is_whole(part):
            yield from (f"{part.name}: {o.state}" for o in part.entries if not _ended(o))
            continue
        seen = Counter((o.symbol, o.side, o.quantity, _ended(o)) for o in part.entries)
        expected = Counter(
            (
                day.symbol(part.expected.customer, order.leg),
                order.leg.side,
                order.lots * day.evidence.lot_size,
                order.ending,
            )
            for order in part.expected.orders
        )
        if seen != expected:
            yield f"{part.name}: ended {sorted(key[3] for key in seen.elements())}"
        entered = part.seen.status in ENTERED
        if entered != (part.expected.status == "CLOSED"):
            yield f"{part.name}: {part.seen.status} {part.seen.cause}"


def _ended(order: Order) -> str:
    if order.state == FILLED:
        return FILLED if order.filled == order.quantity else "filled in part"
    return order.cause


def no_duplicates(day: Day) -> Problems:
    """No intent has two orders at the broker."""
    for code, rows in day.by_code.items():
        if len(rows) > 1:
            yield f"{rows[0].client_id}: {len(rows)} orders of {code}"


def books_agree(day: Day) -> Problems:
    """The broker's tagged orders and ours are the same set, with the same fills."""
    for code, rows in day.by_code.items():
        if code not in day.known_codes:
            yield f"{rows[0].client_id}: order {rows[0].tag} is unknown to the platform"
    for name, seen in day.executions():
        for order in seen.orders:
            if order.is_resolved and order.filled != day.filled_at_broker(order.code):
                theirs = day.filled_at_broker(order.code)
                yield f"{name}: {order.tag} filled {order.filled} here, {theirs} there"


def none_early(day: Day) -> Problems:
    """No entry order was sent, or reached a broker, before the entry second."""
    for code in day.entry_codes:
        for row in day.by_code.get(code, ()):
            early = (day.story.entry_at - row.received_at).total_seconds()
            if early > 0:
                yield f"{row.client_id}: {row.tag} arrived {early * 1000:.1f} ms early"
    for row in day.evidence.book:
        if row.client_id in CLIENTS and row.received_at < entry_at(day.story):
            yield f"{row.client_id}: {row.tag} arrived at {row.received_at.isoformat()}"
    for order in day.entries:
        if order.sent_at is not None and order.sent_at < day.story.entry_at:
            yield f"{order.tag} left at {order.sent_at.isoformat()}"


def all_final(day: Day) -> Problems:
    """Every order has a known end."""
    for name, seen in day.executions():
        for order in seen.orders:
            if not order.is_resolved:
                yield f"{name}: {order.tag} {order.state}"


def stop_and_move_to_cost(day: Day) -> Problems:
    """The straddle's call was stopped; its put's stop moved to cost and held until the exit."""
    for part in day.parts:
        if part.expected.plan.key != STRADDLE or not _is_entered(part):
            continue
        legs = {leg.option_type: leg for leg in part.expected.plan.legs}
        reasons = _exit_reasons(part, day.symbol(part.expected.customer, legs["CE"]))
        if reasons != {"STOP"}:
            yield f"{part.name}: call left by {reasons or 'nothing'}, not by its stop"
        reasons = _exit_reasons(part, day.symbol(part.expected.customer, legs["PE"]))
        if reasons - {"EXIT_TIME"}:
            yield f"{part.name}: put left by {reasons}"
    whole = {
        part.expected.customer.email
        for part in day.parts
        if part.expected.plan.key == STRADDLE and day.is_whole(part)
    }
    moves = [move for move in day.evidence.stop_moves if move.email in whole]
    for move in moves:
        if not _is_at_cost(move.before, move.after):
            yield f"{move.email}: stop of the put went from {move.before} to {move.after}"
    if not moves:
        yield "nobody's stop was looked at"


def _is_entered(part: Part) -> bool:
    return part.seen is not None and part.seen.status in ENTERED and part.seen.is_resolved


def _exit_reasons(part: Part, symbol: str) -> set[str]:
    exits = part.seen.exits if part.seen else []
    return {order.reason for order in exits if order.symbol == symbol}


def _is_at_cost(before: Decimal | None, after: Decimal | None) -> bool:
    """A stop 25 % above the price moved to that price: one fifth lower, to the tick."""
    if before is None or after is None:
        return False
    return abs(before / Decimal("1.25") - after) <= TICK


def flat_after_exit(day: Day) -> Problems:
    """No account has a position after the exit.

    Duplicates, unresolved orders, and accounts with customers of two partners have checks of their
    own.
    """
    left_out = {
        order.code
        for part in day.parts
        if part.seen and not part.seen.is_resolved
        for order in part.seen.orders
    }
    net: Counter[tuple[str, str]] = Counter()
    for code, rows in day.by_code.items():
        if rows[0].client_id in CLIENTS:
            continue
        if code in day.known_codes and code not in left_out:
            net[rows[0].client_id, rows[0].symbol] += rows[0].signed
    for (client_id, symbol), quantity in net.items():
        if quantity:
            yield f"{client_id} still holds {quantity} {symbol}"


def unready_named(day: Day) -> Problems:
    """Every customer who did not trade is reported with the story's cause."""
    for row in unready(day):
        if row["cause"] != row["expected"]:
            yield f"{row['customer']} {row['strategy']}: {row['cause'] or 'no cause'}"


def withdrawn_in_time(day: Day) -> Problems:
    """Pause and cancel answered that they prevent the next entry, and it did not happen."""
    for customer, plan in day.story.subscriptions():
        said = day.evidence.next_entry_affected.get((customer.email, plan.key))
        if customer.absent in (PAUSED, CANCELLED) and said is not True:
            yield f"{customer.client_id} {plan.key}: next_entry_affected is {said}"


def illegal_refused(day: Day) -> Problems:
    """A multiplier that leaves a leg without lots is refused, and the message names the leg."""
    for customer, plan in day.story.illegal():
        said = day.evidence.refusals.get((customer.email, plan.key), "")
        if not any(leg.label in said for leg in plan.legs if not customer.lots(leg)):
            yield f"{customer.client_id} {plan.key}: {said or 'accepted'}"


def faults_struck(day: Day) -> Problems:
    """Each fault of the story really occurred."""
    for customer, fault in day.story.faulty():
        if not day.evidence.fault_hits.get(fault.name):
            yield f"{fault.name} never struck {customer.client_id}"


def webhooks_complete(day: Day) -> Problems:
    """Everything that happened was delivered, signed, at least once."""
    delivered = set(delivered_webhooks(day))
    for key in sorted(expected_webhooks(day) - delivered):
        yield f"never told: {' '.join(key)}"


def signatures_good(day: Day) -> Problems:
    """Every delivery had a valid signature."""
    yield from day.evidence.bad_signatures


def in_time(day: Day) -> Problems:
    """The whole story took at most six minutes."""
    if day.evidence.seconds > TIME_LIMIT:
        yield f"{day.evidence.seconds:.0f} s"


CHECKS: Final[tuple[Callable[[Day], Problems], ...]] = (
    planned_as_expected,
    filled_or_named,
    no_duplicates,
    books_agree,
    none_early,
    all_final,
    stop_and_move_to_cost,
    flat_after_exit,
    two_partners_one_account,
    unready_named,
    withdrawn_in_time,
    illegal_refused,
    faults_struck,
    billed_once,
    receivable_matches,
    ledger_balances,
    payments_settle,
    commission_matches,
    invoice_documents,
    webhooks_complete,
    signatures_good,
    in_time,
)


# -- figures ---------------------------------------------------------------------------------------
def unready(day: Day) -> list[dict[str, Any]]:
    """Customers who did not trade: strategy, reported cause, whether a webhook reported it."""
    delivered = set(delivered_webhooks(day))
    rows = []
    for part in day.parts:
        customer, plan = part.expected.customer, part.expected.plan
        if not customer.absent:
            continue
        cause, key = _reported(day, customer, plan, part.seen)
        rows.append(
            {
                "customer": customer.email,
                "strategy": plan.key,
                "cause": cause,
                "expected": customer.absent,
                "webhook": key in delivered,
            }
        )
    return rows


def _reported(
    day: Day, customer: Customer, plan: Plan, seen: Execution | None
) -> tuple[str, WebhookKey]:
    known = day.evidence.subscriptions.get((customer.email, plan.key))
    if known is None:
        return "", ()
    if customer.absent in (PAUSED, CANCELLED):
        traded = seen is not None and bool(seen.entries)
        return "" if traded else known.status, (f"subscription.{known.status.lower()}", known.id)
    cause = seen.cause if seen is not None and seen.status == "FAILED" else ""
    return cause, ("execution.failed", known.id, "ENTRY")


def figures(day: Day) -> dict[str, Any]:
    """The figures of the report."""
    webhooks = expected_webhooks(day)
    ours = [order for order in day.entries if order.is_resolved]
    failed = Counter(_ended(order) for order in ours if order.state != FILLED)
    exits = [order for part in day.parts if part.seen for order in part.seen.exits]
    at_broker = sum(len(day.by_code.get(code, ())) for code in day.entry_codes)
    at_broker += sum(row.status == "REJECTED" and row.code in day.entry_codes for row in _book(day))
    return {
        "expected": sum(len(outcome.orders) for outcome in day.story.expected()),
        "planned": len(day.entries),
        "sent": sum(order.sent_at is not None for order in day.entries),
        "at_broker": at_broker,
        "filled": sum(order.state == FILLED for order in day.entries),
        "failed_by_cause": dict(sorted(failed.items())),
        "duplicates": sum(len(rows) - 1 for rows in day.by_code.values()),
        "lost": sum(1 for _ in books_agree(day)),
        "unknown": sum(1 for _ in all_final(day)),
        "missed": sum(order.state == "MISSED" for order in day.entries),
        "early": len({row.code for row in _book(day) if _is_early(day, row)}),
        "lateness_ms": dict(day.evidence.lateness),
        "exits": sum(order.state == FILLED for order in exits),
        "net_position_after": sum(abs(q) for q in day.evidence.net_positions.values()),
        **twice_figures(day),
        **money_figures(day),
        "webhooks_expected": len(webhooks),
        "webhooks_delivered": len(webhooks & set(delivered_webhooks(day))),
        "unready": [
            {name: row[name] for name in ("customer", "strategy", "cause", "webhook")}
            for row in unready(day)
        ],
    }


def _book(day: Day) -> list[BookOrder]:
    return list(day.evidence.book)


def _is_early(day: Day, row: BookOrder) -> bool:
    return row.code in day.entry_codes and row.received_at < day.story.entry_at


def judge(story: Story, evidence: Evidence) -> Verdict:
    """Figures and checks of a day."""
    day = Day(story, evidence)
    problems = {check.__name__: list(check(day)) for check in CHECKS}
    return Verdict(figures(day), problems)
