"""Instrument files of both brokers become the same contracts, twice changes nothing."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import zipfile
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
from brokers.simulator.contracts import ContractList, generate
from marketplace.models import Contract, LotSize, Underlying
from quantleap.core.audit import SYSTEM

pytestmark = pytest.mark.django_db

DAY = dt.date(2026, 8, 18)
NOW = dt.datetime(2026, 8, 18, 3, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def listed() -> ContractList:
    return generate(DAY)


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
    kite = run("zerodha", listed.kite_csv(indices=True))
    assert (kite.contracts_new, kite.names_new, kite.lots_new) == (len(listed),) * 3
    before = list(Contract.objects.order_by("pk").values())
    noren = run("zebu", listed.noren_txt())
    assert (noren.contracts_new, noren.lots_new) == (0, 0)
    assert (noren.unchanged, noren.names_new) == (len(listed), len(listed))
    assert list(Contract.objects.order_by("pk").values()) == before
    assert LotSize.objects.count() == Contract.objects.count() == len(listed)
    assert set(Underlying.objects.values_list("symbol", flat=True)) == {
        "NIFTY",
        "BANKNIFTY",
        "FINNIFTY",
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
    assert (again.names_new, again.names_changed, again.unchanged) == (0, 0, len(listed))
    after = [list(m.objects.order_by("pk").values()) for m in (Contract, LotSize, BrokerInstrument)]
    assert after == before


def test_a_new_lot_size_is_dated_and_the_old_one_stays(listed: ContractList) -> None:
    lines = listed.kite_csv().splitlines()[:20]
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
    lines = listed.kite_csv().splitlines()[:20]
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
    half = "\n".join(listed.kite_csv().splitlines()[: len(listed) // 2])
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


# -- the command -----------------------------------------------------------------------------
def test_the_command_reads_plain_gzipped_and_zipped_files(
    listed: ContractList, tmp_path: Path
) -> None:
    plain, packed, zipped = (tmp_path / name for name in ("kite.csv", "kite.csv.gz", "NFO.zip"))
    plain.write_text(listed.kite_csv())
    packed.write_bytes(gzip.compress(listed.kite_csv().encode()))
    zipped.write_bytes(listed.noren_zip())
    out = io.StringIO()
    call_command("import_instruments", "--broker", "zerodha", "--file", str(plain), stdout=out)
    assert f"{len(listed)} new" in out.getvalue()
    again = io.StringIO()
    call_command("import_instruments", "--broker", "zerodha", "--file", str(packed), stdout=again)
    assert f"{len(listed)} unchanged" in again.getvalue()
    noren = io.StringIO()
    call_command("import_instruments", "--broker", "zebu", "--file", str(zipped), stdout=noren)
    assert f"names: {len(listed)} new" in noren.getvalue()


@responses.activate
def test_the_command_downloads_from_the_broker(
    listed: ContractList, settings: LazySettings
) -> None:
    url = "http://127.0.0.1:8902/NFO_symbols.txt.zip"
    settings.QUANTLEAP_BROKERS = {"zebu": {"api": "", "login": "", "instruments": url}}
    responses.get(url, body=listed.noren_zip())
    out = io.StringIO()
    call_command("import_instruments", "--broker", "zebu", stdout=out)
    assert f"{len(listed)} new" in out.getvalue()


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
