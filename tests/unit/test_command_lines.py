"""Command lines end in one line and a code that means something, whatever they are given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.oracle.telling import HISTORIES

PROJECT = Path(__file__).resolve().parent.parent.parent
VALID = str(HISTORIES / "unique-try" / "valid-one-try-to-success.ndjson")
SIGPIPE = 141


def run(*module: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return forked.run(
        [sys.executable, "-m", *module], cwd=PROJECT, env={**os.environ, **env}, timeout=240
    )


@pytest.mark.parametrize(
    "module",
    ["recorder try", "recorder remove", "oracle try-audit", "oracle remove-audit", "chaos remove"],
)
@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("", "is not set"),
        ("mysql://u:sekret@127.0.0.1/x", "cannot be read"),
        ("host=127.0.0.1 password=sekret=x y", "cannot be read"),
        ("postgresql+psycopg2://u:sekret@127.0.0.1:1/x", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(
    module: str, dsn: str, said: str
) -> None:
    done = run(*module.split(), HA_CHAOS_DSN=dsn)
    assert done.returncode == 2
    assert said in done.stderr or "takes no connection" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "sekret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [["oracle", "check", VALID], ["lab.environments", "list"]],
    ids=["oracle check", "lab.environments list"],
)
def test_a_reader_who_goes_early_is_no_verdict(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=PROJECT,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
            check=False,
        )
    assert (done.returncode, done.stderr) == (SIGPIPE, "")


@pytest.mark.parametrize("bound", ["0", "-1", "nan", "inf", "soon"])
def test_a_bound_is_a_number_of_seconds(bound: str) -> None:
    done = run("oracle", "check", VALID, f"--bound={bound}")
    assert done.returncode == 2
    assert "argument --bound" in done.stderr
