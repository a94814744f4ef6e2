"""How soon the console's lists answer at a hundred thousand subscriptions and a million orders.

``python -m bench.console``: an installation of its own below ``var/bench`` with 100,000
subscriptions, 1,000,000 orders, 300,000 invoices and 1,100,000 audit entries; every list's first
page, a deep page, each way of searching (its beginning, its middle, nothing found) and each filter,
and the page of a run with 5,000 executions. Promise: each is ready within 300 ms (pages are sent
whole, so that is their first byte). Writes ``var/bench/console.json``; exit status 1 when a promise
is not kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bench.figures import Target
from bench.installation import VAR, Installation

READY_MS: Final = 300.0
TRIES: Final = 3
#: The last but one page that a list offers.
DEEP: Final = 199


@dataclass(frozen=True, slots=True)
class Page:
    """One address of a list, and what it measures."""

    list: str
    what: str
    address: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of all tries, queries of the last one, and its size in kB."""

    list: str
    what: str
    address: str
    status: int
    ms: float
    worst_ms: float
    queries: int
    kb: int


ADMIN: Final = "/admin"
#: List -> ways of searching: label in the table, and the search term.
SEARCHES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "partners/customer": (
        ("e-mail, beginning", "person4711"), ("e-mail, middle", "n4711@"), ("everybody", "example"),
    ),
    "brokers/brokeraccount": (("client id", "Z00046"), ("e-mail, middle", "n4711@")),
    "subscriptions/subscription": (
        ("id", "sub_0a"), ("e-mail", "person4711"), ("name", "asha rao"), ("everybody", "example"),
    ),
    "execution/execution": (
        ("id", "exe_0ab"), ("client id", "Z0004611"), ("e-mail", "person4711"),
        ("name", "meera"), ("everybody", "example"),
    ),
    "execution/orderintent": (
        ("broker's id", "26000046"), ("execution", "exe_0ab1"), ("client id", "Z0004611"),
        ("e-mail", "person4711"), ("everybody", "example"),
    ),
    "billing/invoice": (
        ("number", "QL26-00004611"), ("number, beginning", "QL26-0000"), ("digits", "4711"),
        ("e-mail", "person4711"), ("everybody", "example"),
    ),
    "billing/receipt": (
        ("reference", "utr 0000-0000-4611"), ("reference, beginning", "utr0"), ("invoice", "4711"),
        ("e-mail", "person4711"), ("everybody", "example"),
    ),
    "billing/payment": (
        ("reference", "utr00000004611"), ("reference, beginning", "UTR0"), ("invoice", "4711"),
        ("e-mail", "person4711"), ("everybody", "example"),
    ),
    "billing/commission": (("id", "com_0a"), ("invoice", "4711")),
    "billing/ledgertransaction": (("key", "payment:pay_0a"), ("id", "pay_0a")),
    "billing/ledgeraccount": (("code", "receivable:usr_0a"), ("e-mail", "person4711")),
    "billing/customercredit": (("e-mail", "person4"), ("everybody", "example")),
    "billing/billingsegment": (("e-mail", "person4711"), ("subscription", "sub_0a")),
    "core/auditentry": (
        ("target", "sub_0a"), ("actor", "staff"), ("action, middle", "recorded"),
        ("request", "req_0a"),
    ),
    "core/outboxevent": (("id", "evt_0a"), ("type, middle", "paid")),
}  # fmt: skip
NOWHERE: Final = "zzqqxx"
#: List -> filters as the console's own links write them; values that fit many, few and no rows.
FILTERS: Final[dict[str, tuple[str, ...]]] = {
    "subscriptions/subscription": (
        "status__exact=ACTIVE", "status__exact=CANCELLED", "status_reason__exact=PAYMENT_FAILED",
        "partner=1", "partner=none", "environment__exact=test", "customer__id__exact=4711",
    ),
    "brokers/brokeraccount": (
        "status__exact=removed", "broker__exact=zebu", "environment__exact=test",
    ),
    "execution/execution": (
        "status__exact=CLOSED", "status__exact=FAILED", "status__exact=OPEN",
        "status__exact=WITHDRAWN", "needs_attention=1", "environment__exact=test",
        "subscription__customer__id__exact=4711",
    ),
    "execution/orderintent": (
        "state__exact=FILLED", "state__exact=REJECTED", "state__exact=UNKNOWN",
        "state__exact=PLANNED", "purpose__exact=EXIT", "purpose__exact=UNWIND", "side=BUY",
        "environment__exact=test", "cause=MARGIN", "cause=DUPLICATE",
        "state__exact=REJECTED&cause=MARGIN&side=SELL",
    ),
    "billing/invoice": (
        "outstanding=unpaid", "outstanding=overdue", "status__exact=CREDITED",
        "needs_review__exact=1", "partner=1", "partner=none", "issued_on__gte=2026-08-01",
        "issued_on__gte=2027-01-01", "customer__id__exact=4711",
    ),
    "billing/receipt": (
        "method__exact=CHEQUE", "partner=none", "state=reversed", "state=doubt", "state=credit",
        "recorded_on__gte=2026-08-01", "customer__id__exact=4711",
    ),
    "billing/payment": (
        "method__exact=CHEQUE", "method__exact=CASH", "partner=none",
        "recorded_on__gte=2026-08-01", "received_on__gte=2027-01-01", "customer__id__exact=4711",
    ),
    "billing/commission": (
        "kind__exact=CLAWBACK", "role__exact=PROVIDER", "accrued_on__gte=2027-01-01",
        "partner=none",
    ),
    "billing/ledgertransaction": ("kind=payment", "kind=refund", "effective_on__gte=2027-01-01"),
    "billing/ledgeraccount": ("kind__exact=INCOME", "name=receivable"),
    "core/auditentry": (
        "actor_kind__exact=STAFF", "actor_kind__exact=SYSTEM", "environment__exact=test",
        "target_type=invoice",
    ),
    "core/outboxevent": ("type=invoice.paid", "published_at__isempty=1", "environment__exact=test"),
}  # fmt: skip


def pages(run_id: int) -> Iterator[Page]:
    """All pages to measure."""
    for name in sorted({*SEARCHES, *FILTERS}):
        base = f"{ADMIN}/{name}/"
        yield Page(name, "first page", base)
        yield Page(name, "deep page", f"{base}?p={DEEP}")
        yield Page(name, "too deep", f"{base}?p=99999")
        for what, term in SEARCHES.get(name, ()):
            yield Page(name, f"search: {what}", f"{base}?q={term}")
        yield Page(name, "search: nothing found", f"{base}?q={NOWHERE}")
        for filter_query in FILTERS.get(name, ()):
            yield Page(name, filter_query, f"{base}?{filter_query}")
    run = f"{ADMIN}/execution/run/{run_id}/change/"
    yield Page("execution/run", "first page", f"{ADMIN}/execution/run/")
    for what, query in (
        ("page of 5,000", ""),
        ("page of 5,000, its failures", "?status=FAILED"),
        ("page of 5,000, one cause", "?cause=MARGIN"),
        ("page of 5,000, last page", "?executions_page=200&orders_page=400"),
    ):
        yield Page("execution/run", what, run + query)
    for name in ("subscriptions/subscription", "partners/customer", "billing/invoice"):
        yield Page(name, "one row", f"{ADMIN}/{name}/471/change/")
    yield Page("partners/customer", "choosing one", f"{ADMIN}/autocomplete/?term=n4711&app_label="
               "subscriptions&model_name=subscription&field_name=customer")  # fmt: skip


def measure_page(page: Page, get: Callable[[str], Any]) -> Measured:
    """Median and maximum of :data:`TRIES`."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        answer = get(page.address)
        times.append((time.perf_counter() - begun) * 1000)
    with CaptureQueriesContext(connection) as seen:
        answer = get(page.address)
    return Measured(
        **asdict(page),
        status=answer.status_code,
        ms=round(statistics.median(times), 1),
        worst_ms=round(max(times), 1),
        queries=len(seen),
        kb=len(answer.content) // 1024,
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements, in one installation."""
    with Installation(answer_after=0) as installation:
        from django.test import Client

        from bench.consoleseed import Sizes
        from quantleap.core.models import StaffUser

        logging.disable(logging.WARNING)
        part = options.share
        sizes = Sizes(*(int(size * part) for size in asdict(Sizes()).values()))
        say(f"{sizes.subscriptions:,} subscriptions, {sizes.orders:,} orders")
        begun = time.perf_counter()
        seed(installation, sizes)
        seeded = time.perf_counter() - begun
        say(f"seeded in {seeded:.0f} s; asking")
        client = Client(SERVER_NAME="localhost")
        client.force_login(StaffUser.objects.create_superuser("bench"))
        client.get(f"{ADMIN}/")  # warms up templates and connections
        measured = [measure_page(page, client.get) for page in pages(sizes.runs)]
    return {"sizes": asdict(sizes), "seeded_s": round(seeded, 1), "pages": measured}


def seed(installation: Installation, sizes: Any) -> None:
    """Create the base data through the services, the large tables by SQL."""
    import psycopg

    from bench import consoleseed
    from bench.day import open_market
    from bench.portfolio import open_books
    from marketplace.models import Contract
    from quantleap.embedded.postgres import SUPERUSER
    from subscriptions.billing.models import Supplier

    dataset = open_books()
    open_market()
    template = dataset.templates[0]
    url = urlsplit(installation.environment["DATABASE_URL"])
    with (
        psycopg.connect(
            f"{url.scheme}://{SUPERUSER}@{url.netloc.rpartition('@')[2]}{url.path}?{url.query}",
            autocommit=True,
        ) as connection,
        connection.cursor() as cursor,
    ):
        consoleseed.fill(
            cursor,
            sizes,
            {
                "partners": [partner.pk if partner else None for partner in dataset.partners],
                "template": template.pk,
                "version": template.current_version_id,
                "strategy": template.strategies.get().key,
                "contract": Contract.objects.order_by("pk")[0].pk,
                "supplier": Supplier.objects.order_by("pk")[0].pk,
            },
        )


def say(what: str) -> None:
    """Print the present step."""
    print(f"  {what} …", flush=True)


def judge(measured: Sequence[Measured]) -> list[Target]:
    """Compare the figures with the promises."""
    slowest = max(measured, key=lambda page: page.ms)
    late = [page for page in measured if page.ms > READY_MS]
    broken = [page for page in measured if page.status != 200]
    return [
        Target(f"slowest: {slowest.list} {slowest.what}"[:46], slowest.ms, READY_MS),
        Target(f"of {len(measured)} pages, later than {READY_MS:g} ms", len(late), 0, ""),
        Target("pages that are no page", len(broken), 0, ""),
    ]


def table(measured: Sequence[Measured]) -> str:
    """The figures as text, in the order of the lists."""
    lines = [f"{'list':<28}{'page':<46}{'ms':>7}{'worst':>8}{'queries':>8}{'kB':>6}"]
    for page in measured:
        mark = "  <" if page.ms > READY_MS or page.status != 200 else ""
        lines.append(
            f"{page.list:<28}{page.what[:45]:<46}{page.ms:>7.0f}{page.worst_ms:>8.0f}"
            f"{page.queries:>8}{page.kb:>6}{mark}"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows, for a quick look")
    options = parser.parse_args()
    begun = time.monotonic()
    measured = measure(options)
    judged = judge(measured["pages"])
    print(f"\n{table(measured['pages'])}\n")
    for target in judged:
        print(target.line())
    result = {
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_at_end": os.getloadavg(),
        },
        "targets": [target.json() for target in judged],
        **measured,
        "pages": [asdict(page) for page in measured["pages"]],
    }
    path = VAR / "console.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    all_kept = all(target.holds for target in judged)
    print(f"\nwritten to {path.relative_to(VAR.parent.parent)}")
    print(f"{'every promise kept' if all_kept else 'NOT KEPT'}, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if all_kept else 1)


if __name__ == "__main__":
    main()
