"""Import of a broker's instrument file: contracts, dated lot sizes, and the broker's names.

Set-based and idempotent: reading a file twice changes nothing the second time. A file that is
empty, broken, old or much shorter than the last one imports nothing (a half-downloaded master at
08:45 must not make contracts disappear at 09:20).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.db.models import Count, Max

from brokers.errors import InstrumentFileError
from brokers.instrument_rows import InstrumentRow
from brokers.models import BrokerInstrument, ContractListImport
from brokers.registry import get_adapter
from brokers.underlyings import INDEX_NAMES
from marketplace.models import Contract, LotSize, Underlying
from quantleap.core import audit, clock
from quantleap.core.audit import Actor
from quantleap.core.dates import day_text
from quantleap.core.inserts import insert_missing
from quantleap.core.locks import transaction_lock

BATCH: Final = 2000
#: At or below this share of the last import's rows, of any index, a file counts as broken.
SHRUNKEN_SHARE: Final = Decimal("0.5")
#: Likewise above this share of broken lines (and this many).
BROKEN_SHARE: Final = Decimal("0.05")
BROKEN_LINES: Final = 100
#: Above this share of past expiries a file is from another day.
OLD_SHARE: Final = Decimal("0.5")

_MAX_STRIKE: Final = Decimal(10) ** 8
_MAX_TICK: Final = Decimal(10) ** 4
_PAISA: Final = Decimal("0.01")

#: underlying id, expiry, strike, option type: the identity of a contract for every broker.
Key = tuple[int, dt.date, Decimal, str]
Progress = Callable[[str], None]


#: Product codes named in a report; the longest lists first, because an index has the most strikes.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import. ``unchanged`` counts contracts that were already known exactly so
    today.

    ``expired`` counts lines of past expiries, ``contradictory`` those of contracts that occur twice
    with different data; neither is imported. ``unknown`` counts lines by unknown product code ("BFO
    NEWOPT"): a new index appears here, and so does every stock in a list that does not distinguish
    stocks from indices. ``unknown_columns`` are unknown names in its first line: a renamed column
    appears here.
    """

    read: int
    skipped: int
    contracts_new: int
    contracts_seen: int
    unchanged: int
    lots_new: int
    names_new: int
    names_changed: int
    expired: int = 0
    contradictory: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)
    unknown_columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = (
            f"{self.read} lines, {self.skipped} broken; contracts: {self.contracts_new} new, "
            f"{self.contracts_seen} seen again, {self.unchanged} unchanged; "
            f"{self.lots_new} lot sizes new; names: {self.names_new} new, "
            f"{self.names_changed} changed"
        )
        if self.expired:
            text += f"; {self.expired} expired"
        if self.contradictory:
            text += f"; {self.contradictory} contradict another line"
        if self.unknown_columns:
            text += f"; unknown columns: {', '.join(self.unknown_columns)}"
        return text + self._unknown_words()

    def _unknown_words(self) -> str:
        if not self.unknown:
            return ""
        ranked = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{code} {count}" for code, count in ranked[:_NAMED])
        rest = f" and {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
        return f"; {sum(self.unknown.values())} lines of unknown products ({named}{rest})"


def import_instruments(
    *,
    broker: str,
    lines: Iterable[str],
    source: str,
    actor: Actor,
    now: dt.datetime,
    force: bool = False,
    progress: Progress = lambda text: None,
    asked: ContractListImport | None = None,
) -> ImportReport:
    """Read ``lines`` in ``broker``'s file format and store its index derivatives.

    ``source`` (a file name or URL) is stored with new lot sizes; ``force`` accepts a shrunken file;
    ``asked`` is the row that requested it. Every exchange in the file then has today's list. If the
    file is refused, raises InstrumentFileError and writes nothing.
    """
    stream = get_adapter(broker).parse_instruments(lines)
    listed = [row for row in stream if _fits(row)]
    if stream.problem:
        raise InstrumentFileError(f"The file cannot be read: {stream.problem}")
    skipped = stream.skipped + (stream.read - stream.skipped - len(listed))
    progress(f"{stream.read} lines read, {skipped} broken")
    today = clock.ist_date(now)
    rows = [row for row in listed if row.expiry >= today]
    expired = len(listed) - len(rows)
    _refuse_broken(len(listed), stream.read, skipped)
    _refuse_old(len(listed), expired, today)
    rows, contradictory = _without_contradictions(rows)
    _refuse_broken(len(rows), stream.read, skipped + contradictory)
    with transaction.atomic():
        transaction_lock(f"import-instruments:{broker}")
        if not force:
            _refuse_shrunken(broker, rows)
        underlyings = _underlyings(rows)
        by_key = {_key(row, underlyings): row for row in rows}
        new, seen, unchanged = _store_contracts(by_key, today, progress)
        ids = _contract_ids(by_key)
        lots = _store_lots(by_key, ids, today, source, progress)
        names_new, names_changed = _store_names(broker, by_key, ids, today, progress)
        report = ImportReport(
            read=stream.read,
            skipped=skipped,
            contracts_new=new,
            contracts_seen=seen,
            unchanged=unchanged,
            lots_new=lots,
            names_new=names_new,
            names_changed=names_changed,
            expired=expired,
            contradictory=contradictory,
            unknown={
                f"{exchange} {code or '(no name)'}": count
                for (exchange, code), count in stream.unknown.items()
            },
            unknown_columns=tuple(stream.unknown_columns),
        )
        _store_done(broker, rows, asked=asked, source=source, actor=actor, report=report, now=now)
        audit.record(
            actor=actor,
            action="instruments.imported",
            target_type="broker",
            target_id=broker,
            data={"source": source[:200], "report": str(report)},
        )
    return report


def _store_done(
    broker: str,
    rows: list[InstrumentRow],
    *,
    asked: ContractListImport | None,
    source: str,
    actor: Actor,
    report: ImportReport,
    now: dt.datetime,
) -> None:
    """Record that the list of each exchange in the file is today's."""
    done = {
        "trade_date": clock.ist_date(now),
        "state": ContractListImport.State.DONE,
        "source": source[:200],
        "started_at": now if asked is None else asked.started_at,
        "finished_at": clock.now(),  # for display only: how long it took
        "report": str(report)[:300],
    }
    exchanges = {row.exchange for row in rows}
    if asked is not None and asked.exchange not in exchanges:
        raise InstrumentFileError(f"The file holds nothing of {asked.exchange}")
    for exchange in sorted(exchanges):
        if asked is not None and exchange == asked.exchange:
            ContractListImport.objects.filter(pk=asked.pk).update(**done)
        else:
            ContractListImport.objects.create(
                broker=broker, exchange=exchange, asked_by=actor.id, queued_at=now, **done
            )


# -- refusals --------------------------------------------------------------------------------
def _fits(row: InstrumentRow) -> bool:
    """Whether the row fits our columns: paise, and lengths."""
    return (
        row.strike < _MAX_STRIKE
        and row.tick_size < _MAX_TICK
        and row.strike == row.strike.quantize(_PAISA)
        and row.tick_size == row.tick_size.quantize(_PAISA)
        and len(row.symbol) <= 40
        and len(row.token) <= 20
        and len(row.exchange_token) <= 20
    )


def _refuse_broken(usable: int, read: int, skipped: int) -> None:
    if not usable:
        raise InstrumentFileError("The file holds no index future or option")
    if skipped > BROKEN_LINES and skipped > read * BROKEN_SHARE:
        raise InstrumentFileError(f"{skipped} of {read} lines are broken")


def _refuse_old(listed: int, expired: int, today: dt.date) -> None:
    """Refuse a list of another day: yesterday's has one expired expiry, never most of them."""
    if expired > listed * OLD_SHARE:
        raise InstrumentFileError(
            f"{expired} of {listed} contracts expired before {day_text(today)}: this is an old list"
        )


def _without_contradictions(rows: list[InstrumentRow]) -> tuple[list[InstrumentRow], int]:
    """The rows without contracts or names that occur twice with different data, and how many those
    are.

    Nobody can say which of two lines is right, so neither is used; a plain repetition counts once.
    """
    distinct = list(dict.fromkeys(rows))
    contracts = Counter(_identity(row) for row in distinct)
    names = Counter((row.exchange, row.symbol) for row in distinct)
    clean = [
        row
        for row in distinct
        if contracts[_identity(row)] == 1 and names[(row.exchange, row.symbol)] == 1
    ]
    return clean, len(distinct) - len(clean)


def _identity(row: InstrumentRow) -> tuple[str, dt.date, Decimal, str]:
    return row.underlying, row.expiry, row.strike, row.option_type


def _refuse_shrunken(broker: str, rows: list[InstrumentRow]) -> None:
    """Compare, index by index, with what the last import of each exchange had."""
    counts = Counter((row.exchange, row.underlying) for row in rows)
    for exchange in sorted({row.exchange for row in rows}):
        names = BrokerInstrument.objects.filter(broker=broker, exchange=exchange)
        last = names.aggregate(last=Max("last_seen"))["last"]
        before = (
            names.filter(last_seen=last)
            .values_list("contract__underlying__symbol")
            .annotate(rows=Count("pk"))
            .order_by("contract__underlying__symbol")
        )
        for underlying, had in before if last else ():
            count = counts[(exchange, underlying)]
            if count <= had * SHRUNKEN_SHARE:
                raise InstrumentFileError(
                    f"{exchange} has {count} contracts of {underlying}, the last list had {had}: "
                    "the download may have been cut short. Download it again; if the list really "
                    "is that short, import it again and accept it (--force)"
                )


# -- storing ---------------------------------------------------------------------------------
def _underlyings(rows: list[InstrumentRow]) -> Mapping[str, int]:
    """Ids by symbol; unknown indices are added."""
    exchanges = {row.underlying: row.exchange for row in rows}
    insert_missing(
        [
            Underlying(symbol=symbol, name=INDEX_NAMES[symbol], exchange=exchange)
            for symbol, exchange in sorted(exchanges.items())
        ],
        unique=("symbol",),
    )
    return dict(Underlying.objects.filter(symbol__in=exchanges).values_list("symbol", "pk"))


def _key(row: InstrumentRow, underlyings: Mapping[str, int]) -> Key:
    strike = row.strike.quantize(_PAISA)
    return underlyings[row.underlying], row.expiry, strike, row.option_type


def _stored_contracts(by_key: Mapping[Key, InstrumentRow]) -> Mapping[Key, Contract]:
    contracts = Contract.objects.filter(
        underlying_id__in={key[0] for key in by_key}, expiry__in={key[1] for key in by_key}
    )
    return {(c.underlying_id, c.expiry, c.strike, c.option_type): c for c in contracts}


def _contract_ids(by_key: Mapping[Key, InstrumentRow]) -> Mapping[Key, int]:
    return {
        key: contract.pk for key, contract in _stored_contracts(by_key).items() if key in by_key
    }


def _store_contracts(
    by_key: Mapping[Key, InstrumentRow], today: dt.date, progress: Progress
) -> tuple[int, int, int]:
    known = _stored_contracts(by_key)
    fresh = []
    unchanged = 0
    for key, row in by_key.items():
        contract = known.get(key)
        if contract is not None and _is_unchanged(contract, row, today):
            unchanged += 1
            continue
        underlying_id, expiry, strike, option_type = key
        fresh.append(
            Contract(
                underlying_id=underlying_id,
                expiry=expiry,
                strike=strike,
                option_type=option_type,
                exchange=row.exchange,
                tick_size=row.tick_size,
                exchange_token=row.exchange_token,
                first_seen=today,
                last_seen=today,
            )
        )
    for start in range(0, len(fresh), BATCH):
        Contract.objects.bulk_create(
            fresh[start : start + BATCH],
            update_conflicts=True,
            unique_fields=["underlying", "expiry", "strike", "option_type"],
            update_fields=["exchange", "tick_size", "exchange_token", "last_seen"],
        )
        progress(f"contracts: {min(start + BATCH, len(fresh))} of {len(fresh)}")
    new = sum(key not in known for key in by_key)
    return new, len(fresh) - new, unchanged


def _is_unchanged(contract: Contract, row: InstrumentRow, today: dt.date) -> bool:
    return (
        contract.last_seen >= today
        and contract.exchange == row.exchange
        and contract.tick_size == row.tick_size
        and contract.exchange_token == row.exchange_token
    )


def _store_lots(
    by_key: Mapping[Key, InstrumentRow],
    ids: Mapping[Key, int],
    today: dt.date,
    source: str,
    progress: Progress,
) -> int:
    """Add a dated row for every lot size that differs from the one in force today."""
    in_force = dict(
        LotSize.objects.filter(contract_id__in=ids.values(), effective_from__lte=today)
        .order_by("contract_id", "-effective_from")
        .distinct("contract_id")
        .values_list("contract_id", "lot_size")
    )
    fresh = [
        LotSize(
            contract_id=ids[key],
            effective_from=today,
            lot_size=row.lot_size,
            source=source[:60],
        )
        for key, row in by_key.items()
        if in_force.get(ids[key]) != row.lot_size
    ]
    LotSize.objects.bulk_create(
        fresh,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["contract", "effective_from"],
        update_fields=["lot_size", "source"],
    )
    progress(f"lot sizes: {len(fresh)} new")
    return len(fresh)


def _store_names(
    broker: str,
    by_key: Mapping[Key, InstrumentRow],
    ids: Mapping[Key, int],
    today: dt.date,
    progress: Progress,
) -> tuple[int, int]:
    rows = {ids[key]: row for key, row in by_key.items()}
    known = {
        name.contract_id: (name.exchange, name.symbol, name.token, name.last_seen)
        for name in BrokerInstrument.objects.filter(broker=broker, contract_id__in=rows)
    }
    _free_moved_symbols(broker, rows)
    fresh = [
        BrokerInstrument(
            broker=broker,
            contract_id=contract_id,
            exchange=row.exchange,
            symbol=row.symbol,
            token=row.token,
            last_seen=today,
        )
        for contract_id, row in rows.items()
        if known.get(contract_id) != (row.exchange, row.symbol, row.token, today)
    ]
    BrokerInstrument.objects.bulk_create(
        fresh,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["broker", "contract"],
        update_fields=["exchange", "symbol", "token", "last_seen"],
    )
    new = sum(contract_id not in known for contract_id in rows)
    changed = sum(
        contract_id in known and known[contract_id][:3] != (row.exchange, row.symbol, row.token)
        for contract_id, row in rows.items()
    )
    progress(f"names: {new} new, {changed} changed")
    return new, changed


def _free_moved_symbols(broker: str, rows: Mapping[int, InstrumentRow]) -> None:
    """Drop names that now mean another contract (an expiry moved by a holiday keeps its symbol)."""
    owners = {(row.exchange, row.symbol): contract_id for contract_id, row in rows.items()}
    stored = BrokerInstrument.objects.filter(
        broker=broker, symbol__in=[symbol for _, symbol in owners]
    ).values_list("pk", "exchange", "symbol", "contract_id")
    moved = [
        pk
        for pk, exchange, symbol, contract_id in stored
        if owners.get((exchange, symbol), contract_id) != contract_id
    ]
    if moved:
        BrokerInstrument.objects.filter(pk__in=moved).delete()
