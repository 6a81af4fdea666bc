"""Several labs at a time: their room, lines and sums, and that none outlives who began them."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from common.errors import UserError
from explore import labs
from explore.explorer import Totals
from explore.memory import Memory

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_more_labs_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "most", lambda: 4)
    labs.check_room(4)
    with pytest.raises(UserError, match=r"room for 4 labs here, not for 5.*--labs 4"):
        labs.check_room(5)


def test_what_all_labs_did_adds_up(tmp_path: Path) -> None:
    shares = [
        Memory(totals=Totals(rounds=10, steps=100, seconds=36.0), orders=["a", "b"]),
        Memory(totals=Totals(rounds=5, steps=50, seconds=36.0, finds=1), orders=["b", "c"]),
    ]
    for folder, memory in zip(labs.folders(tmp_path, 2), shares, strict=True):
        folder.mkdir(exist_ok=True)
        (folder / "exploration.json").write_bytes(msgspec.json.encode(memory))
    assert labs.together(tmp_path, 3) == (
        "All 3 labs: 15 rounds (1500 an hour), 150 points, 3 distinct orders, 0 pairs, "
        "0 unknown, 1 found"
    )


def test_the_lines_of_each_lab_are_told_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    says = (
        "import sys; print('12:34:56 a line', file=sys.stderr); print('error: b', file=sys.stderr)"
    )
    with (
        caplog.at_level(logging.INFO, logger="explore.labs"),
        labs._running([[sys.executable, "-c", says]] * 2),
    ):
        pass
    told = {record.getMessage() for record in caplog.records if record.name == "explore.labs"}
    assert told == {f"lab {n}: {line}" for n in (1, 2) for line in ("a line", "error: b")}


def test_who_is_interrupted_ends_them_all() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), labs._running([SLEEPS, SLEEPS]) as processes:
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
    assert {process.returncode for process in processes} == {-signal.SIGTERM}


def test_what_one_finds_ends_them_all_if_it_is_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n"
        'case "$*" in *lab-2*) until [ -e given ]; do sleep 0.1; done; exit 1;; esac\n'
        'echo "$@" > given.new; mv given.new given; exec sleep 60\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    codes = labs.side_by_side(["run"], tmp_path, 2, seed=7, rounds=5, first=True)
    assert codes == [-signal.SIGTERM, 1]
    given = (tmp_path / "given").read_text().split()
    assert given[:3] == ["-m", "explore", "run"]
    assert given[-2:] == ["--rounds", "3"]


def test_none_outlives_a_parent_that_is_killed() -> None:
    script = (
        "import sys\nfrom explore import labs\n"
        f"with labs._running([{SLEEPS!r}]) as processes:\n"
        "    print(processes[0].pid, flush=True)\n    processes[0].wait()\n"
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    child.wait(30)
    assert not child.is_running()
