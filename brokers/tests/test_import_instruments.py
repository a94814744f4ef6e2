"""Instrument files of both brokers become the same contracts, twice changes nothing."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import responses
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from brokers.errors import InstrumentFileError
from brokers.models import BrokerInstrument
from brokers.selectors import instrument_names
from brokers.services.instruments import ImportReport, import_instruments
from brokers.simulator.contracts import EXCHANGES, ContractList, generate
from marketplace.definition import RuleSpec
from marketplace.expiries import select_expiry
from marketplace.models import Contract, FreezeQuantity, LotSize, Underlying
from marketplace.selectors import contract_info, expiries, ladder
from marketplace.strikes import check_ladder, select_strike
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

pytestmark = pytest.mark.django_db

DATA = Path(__file__).parent / "data"
NOREN = DATA / "zebu" / "NFO_symbols.txt"
#: Rows of our own in both brokers' formats: two BSE indices whose symbols begin alike.
MIXED_BFO = DATA / "zebu" / "BFO_sensex_and_sensex50.txt"
MIXED_KITE = DATA / "zerodha" / "BFO_sensex_and_sensex50.csv"

DAY = dt.date(2026, 8, 18)
NOW = dt.datetime(2026, 8, 18, 3, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def listed() -> ContractList:
    return generate(DAY)


def some_lines(listed: ContractList, count: int = 19) -> list[str]:
    """The header of Kite's list and ``count`` contracts that outlive the next days."""
    header, *lines = listed.kite_csv().splitlines()
    return [header, *(line for line in lines if "2026-08-25" in line)][: count + 1]


def run(broker: str, text: str, *, days: int = 0, force: bool = False) -> ImportReport:
    return import_instruments(
        broker=broker,
        lines=io.StringIO(text),
        source="test file",
        actor=SYSTEM,
        now=NOW + dt.timedelta(days=days),
        force=force,
    )


def test_both_files_give_the_same_contracts(listed: ContractList) -> None:
    kite = run("zerodha", listed.kite_dump())
    assert (kite.contracts_new, kite.names_new, kite.lots_new) == (len(listed),) * 3
    before = list(Contract.objects.order_by("pk").values())
    for exchange in EXCHANGES:
        noren = run("zebu", listed.noren_txt(exchange))
        count = len(listed.of(exchange))
        assert (noren.contracts_new, noren.lots_new) == (0, 0)
        assert (noren.unchanged, noren.names_new) == (count, count)
    assert list(Contract.objects.order_by("pk").values()) == before
    assert LotSize.objects.count() == Contract.objects.count() == len(listed)
    assert set(Underlying.objects.values_list("symbol", flat=True)) == {
        "NIFTY",
        "BANKNIFTY",
        "FINNIFTY",
        "SENSEX",
    }
    sample = listed.by_noren_symbol["NIFTY18AUG26C25000"]
    contract = Contract.objects.get(
        underlying__symbol="NIFTY", expiry=DAY, strike=25000, option_type="CE"
    )
    assert (contract.tick_size, contract.exchange_token) == (Decimal("0.05"), str(sample.token))
    names = {
        kind: instrument_names(kind, [contract.pk])[contract.pk] for kind in ("zerodha", "zebu")
    }
    assert names["zebu"].symbol == sample.noren_symbol
    assert names["zerodha"].symbol == sample.kite_symbol
    assert names["zerodha"].token == str(sample.kite_token)
    lot = LotSize.objects.get(contract=contract)
    assert (lot.lot_size, lot.effective_from, lot.source) == (65, DAY, "test file")


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_a_file_read_twice_changes_nothing(listed: ContractList, broker: str) -> None:
    text = listed.kite_csv() if broker == "zerodha" else listed.noren_txt()
    run(broker, text)
    before = [
        list(m.objects.order_by("pk").values()) for m in (Contract, LotSize, BrokerInstrument)
    ]
    again = run(broker, text)
    assert (again.contracts_new, again.contracts_seen, again.lots_new) == (0, 0, 0)
    assert (again.names_new, again.names_changed, again.unchanged) == (0, 0, len(listed.of("NFO")))
    after = [list(m.objects.order_by("pk").values()) for m in (Contract, LotSize, BrokerInstrument)]
    assert after == before


def test_a_new_lot_size_is_dated_and_the_old_one_stays(listed: ContractList) -> None:
    lines = some_lines(listed)
    run("zerodha", "\n".join(lines))
    changed = [line.replace(",65,", ",75,") for line in lines]
    report = run("zerodha", "\n".join(changed), days=1)
    assert report.lots_new == 19
    assert report.contracts_seen == 19
    contract = Contract.objects.first()
    assert contract is not None
    history = contract.lot_sizes.order_by("effective_from").values_list(
        "effective_from", "lot_size"
    )
    assert list(history) == [(DAY, 65), (DAY + dt.timedelta(days=1), 75)]
    assert (contract.first_seen, contract.last_seen) == (DAY, DAY + dt.timedelta(days=1))


def test_a_symbol_that_moves_to_another_expiry_follows(listed: ContractList) -> None:
    lines = some_lines(listed)
    run("zerodha", "\n".join(lines))
    moved = [line.replace("2026-08-25", "2026-08-24") for line in lines]
    assert moved != lines
    report = run("zerodha", "\n".join(moved), days=1)
    assert report.contracts_new > 0
    symbol = BrokerInstrument.objects.get(symbol="NIFTY26AUGFUT")
    assert symbol.contract.expiry == dt.date(2026, 8, 24)


# -- refusals --------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "\n", "<html>502</html>", "a,b,c\n1,2,3\n", "\0"])
@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_an_empty_or_foreign_file_is_refused(broker: str, text: str) -> None:
    with pytest.raises(InstrumentFileError):
        run(broker, text)
    assert not Contract.objects.exists()


def test_the_other_brokers_file_is_refused(listed: ContractList) -> None:
    with pytest.raises(InstrumentFileError):
        run("zerodha", listed.noren_txt())
    with pytest.raises(InstrumentFileError):
        run("zebu", listed.kite_csv())


def test_a_shrunken_file_is_refused_unless_forced(listed: ContractList) -> None:
    run("zerodha", listed.kite_csv())
    half = "\n".join(listed.kite_csv().splitlines()[: len(listed.of("NFO")) // 2])
    with pytest.raises(InstrumentFileError, match="--force"):
        run("zerodha", half, days=1)
    assert not Contract.objects.filter(last_seen__gt=DAY).exists()
    assert run("zerodha", half, days=1, force=True).contracts_seen > 0


def test_a_file_of_broken_lines_is_refused(listed: ContractList) -> None:
    lines = listed.noren_txt().splitlines()
    broken = [line.replace(",65,", ",x,") for line in lines]
    with pytest.raises(InstrumentFileError, match="broken"):
        run("zebu", "\n".join(broken))


def test_values_that_do_not_fit_are_skipped_and_counted(listed: ContractList) -> None:
    header, *lines = listed.kite_csv().splitlines()[:10]
    lines[5] = lines[5].replace(",0.05,", ",0.005,")
    lines[6] = lines[6].replace("NIFTY26", "N" * 50)
    report = run("zerodha", "\n".join([header, *lines]))
    assert (report.read, report.skipped, report.contracts_new) == (9, 2, 7)


def test_a_list_that_shrinks_by_half_is_refused_index_by_index(listed: ContractList) -> None:
    """FINNIFTY is a fifth of the list: all of it may go without halving the whole."""
    header, *lines = listed.kite_csv().splitlines()
    run("zerodha", "\n".join([header, *lines]))
    without = [line for line in lines if ",FINNIFTY," not in line]
    assert len(without) > len(lines) / 2
    with pytest.raises(InstrumentFileError, match="NFO has 0 contracts of FINNIFTY, the last list"):
        run("zerodha", "\n".join([header, *without]))
    finnifty = [line for line in lines if ",FINNIFTY," in line]
    halved = [*without, *finnifty[: len(finnifty) // 2]]
    with pytest.raises(InstrumentFileError, match="cut short"):
        run("zerodha", "\n".join([header, *halved]))
    assert run("zerodha", "\n".join([header, *halved]), force=True).unchanged == len(halved)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",65,", ",0,"),
        (",65,", ",-65,"),
        (",65,", ',"1,065",'),
        (",65,", ",65.5,"),
        (",0.05,", ",0,"),
        (",NIFTY,0.0,2026-08-25,", ",NIFTY,0.0,25/08/2026,"),
        ("CE,NFO-OPT", "CE,NFO-FUT"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_is_broken_and_never_repaired(
    listed: ContractList, old: str, new: str
) -> None:
    lines = [line for line in some_lines(listed, 80) if "FUT" not in line][:20]
    victim = next(n for n, line in enumerate(lines) if n and old in line)
    assert old in lines[victim]
    lines[victim] = lines[victim].replace(old, new, 1)
    report = run("zerodha", "\n".join(lines))
    assert (report.read, report.skipped, report.contracts_new) == (19, 1, 18)


@pytest.mark.parametrize("strike", ["-25000", "0", '"25,000"', "25000.005", "1e5", "٢٥٠٠٠"])
def test_a_strike_that_cannot_be_is_broken(strike: str) -> None:
    header = NOREN.read_text().splitlines()[0]
    good = "NFO,52168,65,NIFTY,NIFTY25AUG26C24400,25-AUG-2026,OPTIDX,CE,24400,0.05,"
    bad = f"NFO,52169,65,NIFTY,NIFTY25AUG26P24400,25-AUG-2026,OPTIDX,PE,{strike},0.05,"
    report = run("zebu", "\n".join([header, good, bad]))
    assert (report.read, report.skipped, report.contracts_new) == (2, 1, 1)


def test_lines_of_past_expiries_are_left_out_and_counted(listed: ContractList) -> None:
    lines = some_lines(listed)
    lines[3] = lines[3].replace("2026-08-25", "2026-08-17")
    report = run("zerodha", "\n".join(lines))
    assert (report.expired, report.contracts_new) == (1, 18)
    assert "1 expired" in str(report)
    assert not Contract.objects.filter(expiry__lt=DAY).exists()


def test_an_old_list_is_refused(listed: ContractList) -> None:
    with pytest.raises(InstrumentFileError, match="old list"):
        run("zerodha", "\n".join(some_lines(listed)), days=30)


def test_repeated_lines_count_once_contradictions_never(
    listed: ContractList,
) -> None:
    """Nobody can say which of two contradictory lines is right."""
    lines = some_lines(listed)
    repeated = [*lines, lines[5]]
    assert run("zerodha", "\n".join(repeated)).contracts_new == 19
    contradiction = lines[5].replace(",65,", ",75,")
    assert contradiction != lines[5]
    report = run("zerodha", "\n".join([*lines, contradiction]), days=1)
    assert (report.contradictory, report.contracts_seen) == (2, 18)
    assert "2 contradict another line" in str(report)
    assert not LotSize.objects.filter(lot_size=75).exists()


def test_a_list_cut_off_in_its_last_line_loses_that_line_only(listed: ContractList) -> None:
    text = "\n".join(some_lines(listed))
    report = run("zerodha", text[:-20])
    assert (report.read, report.skipped, report.contracts_new) == (19, 1, 18)


def test_a_byte_order_mark_blank_lines_and_spaces_are_forgiven(listed: ContractList) -> None:
    header, *lines = some_lines(listed)
    spaced = ", ".join(header.split(","))
    report = run("zerodha", "\ufeff" + "\r\n".join([spaced, "", *lines, "", ""]))
    assert (report.read, report.skipped, report.contracts_new) == (19, 0, 19)


@pytest.mark.parametrize(
    ("broker", "column"), [("zerodha", "lot_size"), ("zerodha", "name"), ("zebu", "LotSize")]
)
def test_a_list_without_a_column_is_refused_by_its_name(
    listed: ContractList, broker: str, column: str
) -> None:
    text = listed.kite_csv() if broker == "zerodha" else listed.noren_txt()
    with pytest.raises(InstrumentFileError, match=f"no column {column}"):
        run(broker, text.replace(column, "other", 1))


def test_both_names_of_norens_strike_column_are_read(listed: ContractList) -> None:
    text = listed.noren_txt().replace("StrikePrice", "Strike", 1)
    report = run("zebu", text)
    assert (report.skipped, report.contracts_new) == (0, len(listed.of("NFO")))


# -- products --------------------------------------------------------------------------------
def test_an_unknown_product_is_reported_and_never_guessed() -> None:
    """Tomorrow's index has a symbol that begins like today's."""
    header = NOREN.read_text().splitlines()[0]
    known = "BFO,1105040,10,BSXOPT,SENSEX26AUG81600PE,27-AUG-2026,OPTIDX,PE,81600,0.05,"
    new = [
        f"BFO,{strike},5,SXNOPT,SENSEXNEXT26AUG{strike}PE,27-AUG-2026,OPTIDX,PE,{strike},0.05,"
        for strike in (70_000, 70_100)
    ]
    future = "BFO,3,5,SXNFUT,SENSEXNEXT26AUGFUT,27-AUG-2026,FUTIDX,XX,0,0.05,"
    swapped = "NFO,4,10,BSXOPT,SENSEX26AUG81700PE,27-AUG-2026,OPTIDX,PE,81700,0.05,"
    report = run("zebu", "\n".join([header, known, *new, future, swapped]))
    assert dict(report.unknown) == {"BFO SXNOPT": 2, "BFO SXNFUT": 1, "NFO BSXOPT": 1}
    assert (report.contracts_new, report.skipped) == (1, 0)
    assert "4 lines of unknown products (BFO SXNOPT 2, BFO SXNFUT 1, NFO BSXOPT 1)" in str(report)
    assert set(Contract.objects.values_list("underlying__symbol", flat=True)) == {"SENSEX"}


def test_kites_unknown_names_are_reported_the_longest_list_first(listed: ContractList) -> None:
    header, *lines = some_lines(listed)
    strangers = [
        f"{n},{n},NIFTYALPHA26AUG{n}CE,NIFTYALPHA,0,2026-08-25,{n},0.05,50,CE,NFO-OPT,NFO"
        for n in range(100, 103)
    ]
    stocks = [
        f"{n},{n},STOCK{n}26AUGFUT,STOCK{n},0,2026-08-25,0,0.05,50,FUT,NFO-FUT,NFO"
        for n in range(200, 210)
    ]
    nameless = "9,9,BANKNIFTY18JAN23500CE,,0,2026-08-25,23500,0.05,40,CE,NFO-OPT,NFO"
    report = run("zerodha", "\n".join([header, *lines, *stocks, *strangers, nameless]))
    assert report.unknown["NFO NIFTYALPHA"] == 3
    assert report.unknown["NFO (no name)"] == 1
    assert "14 lines of unknown products (NFO NIFTYALPHA 3, NFO (no name) 1," in str(report)
    assert str(report).endswith("and 7 more)")
    assert report.contracts_new == 19


SENSEX_DAY = dt.date(2024, 9, 9)


@pytest.mark.parametrize("broker", ["zebu", "zerodha"])
def test_sensex_50_is_not_sensex(broker: str) -> None:
    """9 Sep 2024, index at 81,559: the at-the-money call was 27450 of 12 Sep, lot 25."""
    lines = (MIXED_BFO if broker == "zebu" else MIXED_KITE).read_text()
    import_instruments(
        broker=broker,
        lines=io.StringIO(lines),
        source="test file",
        actor=SYSTEM,
        now=dt.datetime(2024, 9, 9, 3, 0, tzinfo=dt.UTC),
    )
    Underlying.objects.get(symbol="SENSEX50")
    load_freeze_for("SENSEX")
    listed = expiries("SENSEX", SENSEX_DAY)
    assert listed == (dt.date(2024, 9, 13), dt.date(2024, 9, 27))
    expiry = select_expiry(listed, "WEEKLY", SENSEX_DAY)
    rungs = ladder("SENSEX", expiry, "CE", SENSEX_DAY)
    spot = Decimal("81559")
    strikes = check_ladder(rungs, spot, "SENSEX 13 Sep 2024 CE")
    strike = select_strike(strikes, spot, "CE", RuleSpec("STRIKE_TYPE", {"moneyness": "ATM"}))
    contract = contract_info("SENSEX", expiry, strike, "CE", SENSEX_DAY)
    assert contract is not None
    assert (contract.expiry, contract.strike, contract.lot_size) == (expiry, Decimal(81600), 10)
    assert expiries("SENSEX50", SENSEX_DAY) == (dt.date(2024, 9, 12),)


def load_freeze_for(symbol: str) -> None:
    FreezeQuantity.objects.create(
        underlying=Underlying.objects.get(symbol=symbol),
        effective_from=dt.date(2024, 1, 1),
        quantity=1000,
        source="test",
    )


# -- the command -----------------------------------------------------------------------------
def test_the_command_reads_plain_gzipped_and_zipped_files(tmp_path: Path) -> None:
    listed = generate(clock.ist_date(clock.now()))
    plain, packed, zipped = (tmp_path / name for name in ("kite.csv", "kite.csv.gz", "NFO.zip"))
    plain.write_text(listed.kite_csv())
    packed.write_bytes(gzip.compress(listed.kite_csv().encode()))
    zipped.write_bytes(listed.noren_zip())
    out = io.StringIO()
    call_command("import_instruments", "--broker", "zerodha", "--file", str(plain), stdout=out)
    assert f"{len(listed.of('NFO'))} new" in out.getvalue()
    again = io.StringIO()
    call_command("import_instruments", "--broker", "zerodha", "--file", str(packed), stdout=again)
    assert f"{len(listed.of('NFO'))} unchanged" in again.getvalue()
    noren = io.StringIO()
    call_command("import_instruments", "--broker", "zebu", "--file", str(zipped), stdout=noren)
    assert f"names: {len(listed.of('NFO'))} new" in noren.getvalue()


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) * 8 + data[middle + 8 :]


@pytest.mark.parametrize(
    ("broker", "spoil"),
    [
        ("zerodha", lambda listed: gzip.compress(listed.kite_csv().encode())[:-2000]),
        ("zerodha", lambda listed: _flipped(gzip.compress(listed.kite_csv().encode()))),
        ("zebu", lambda listed: listed.noren_zip()[:-100]),
        ("zebu", lambda listed: _flipped(listed.noren_zip())),
        (
            "zerodha",
            lambda listed: listed.kite_csv().encode().replace(b"NIFTY26", b"NIFTY\xff26", 1),
        ),
    ],
    ids=["gzip cut short", "gzip damaged", "zip cut short", "zip damaged", "not UTF-8"],
)
def test_a_damaged_or_cut_off_file_imports_nothing_and_says_so(
    listed: ContractList, tmp_path: Path, broker: str, spoil: Callable[[ContractList], bytes]
) -> None:
    path = tmp_path / "list"
    path.write_bytes(spoil(listed))
    with pytest.raises(CommandError, match="damaged or was cut short; download it again"):
        call_command("import_instruments", "--broker", broker, "--file", str(path))
    assert not Contract.objects.exists()


@responses.activate
def test_the_command_downloads_from_the_broker(settings: LazySettings) -> None:
    listed = generate(clock.ist_date(clock.now()))
    url = "http://127.0.0.1:8902/NFO_symbols.txt.zip"
    settings.QUANTLEAP_BROKERS = {"zebu": {"api": "", "login": "", "instruments": url}}
    responses.get(url, body=listed.noren_zip())
    out = io.StringIO()
    call_command("import_instruments", "--broker", "zebu", stdout=out)
    assert f"{len(listed.of('NFO'))} new" in out.getvalue()


@responses.activate
@pytest.mark.parametrize(
    "reply", [{"status": 502}, {"body": OSError("reset")}, {"body": b"PK\3\4x"}]
)
def test_a_failed_download_is_an_error_exit(reply: dict[str, object]) -> None:
    url = "http://127.0.0.1:8902/x.zip"
    responses.get(url, **reply)
    with pytest.raises(CommandError):
        call_command("import_instruments", "--broker", "zebu", "--url", url)
    assert not Contract.objects.exists()


def test_a_missing_file_and_a_bad_archive_are_error_exits(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_instruments", "--broker", "zebu", "--file", str(tmp_path / "none"))
    archive = tmp_path / "two.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("a.txt", "")
        bundle.writestr("b.txt", "")
    with pytest.raises(CommandError, match="exactly one"):
        call_command("import_instruments", "--broker", "zebu", "--file", str(archive))
