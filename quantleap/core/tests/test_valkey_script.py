"""Valkey's start script: it restarts, and it passes on every password unchanged."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from quantleap.embedded.state import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "deploy" / "valkey.sh"


class Container:
    """The script with its paths below a folder, and a server that only says how it was called."""

    def __init__(self, folder: Path) -> None:
        self.secret, self.config = folder / "secret", folder / "valkey.conf"
        self.script, self.programs = folder / "valkey.sh", folder / "bin"
        self.script.write_text(
            SCRIPT.read_text()
            .replace("=/run/secrets/valkey_password", f"={self.secret}")
            .replace("=/tmp/valkey.conf", f"={self.config}")
        )
        self.programs.mkdir()
        for name, line in (("docker-entrypoint.sh", 'echo "$@"'), ("chown", 'echo "chown $@"')):
            program = self.programs / name
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o700)

    def start(self, secret: str) -> subprocess.CompletedProcess[str]:
        self.secret.write_text(secret)
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", str(self.script)],
            env={"PATH": path},
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


@pytest.mark.parametrize(
    "password",
    [
        "plain",
        "with a blank",
        'with "quotes"',
        "it's",
        "back\\slash",
        "\\",
        '"',
        "# $HOME `id` &",
        "ключ",
    ],
)
def test_a_password_arrives_as_it_was_written(container: Container, password: str) -> None:
    """Bug: a blank made two arguments of it, and Valkey did not start."""
    done = container.start(f"{password}\n")
    assert done.returncode == 0, done.stderr
    assert "valkey-server" in done.stdout
    assert password not in done.stdout.split(), "arguments are for everybody to read"
    # a double-quoted word of a shell has the same two escapes as one of Valkey's configuration
    assert shlex.split(container.config.read_text(), comments=False) == ["requirepass", password]
    assert container.config.stat().st_mode & 0o777 == 0o600


def test_it_comes_up_again_where_a_file_was_left(container: Container) -> None:
    """Bug: after a reboot root may not write to Valkey's file in /tmp, so it is a new one."""
    assert container.start("first").returncode == 0
    left = container.config.with_name("left")
    os.link(container.config, left)
    assert container.start("second").returncode == 0
    assert "first" in left.read_text()
    assert "second" in container.config.read_text()


def test_it_does_not_write_through_a_link(container: Container) -> None:
    other = container.config.with_name("other")
    other.write_text("kept")
    container.config.symlink_to(other)
    assert container.start("secret").returncode == 0
    assert other.read_text() == "kept"
    assert not container.config.is_symlink()


@pytest.mark.parametrize(
    ("secret", "said"), [("", "is empty"), ("\n", "is empty"), ("a\nb\n", "more than one line")]
)
def test_what_is_no_password_is_refused_in_a_sentence(
    container: Container, secret: str, said: str
) -> None:
    """Bug: with an empty secret Valkey began without a password at all."""
    done = container.start(secret)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert not container.config.exists()
