"""`python -m oracle check` judges a stored history, and its exit code is the verdict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oracle.telling import HISTORIES

ROOT = Path(__file__).parents[2]
RACE = HISTORIES / "57618" / "invalid-second-scheduler-schedules-stale-rows-again.ndjson"
GUARDED = HISTORIES / "57618" / "valid-the-guard-lets-nothing-through.ndjson"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oracle", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_a_valid_history_exits_0() -> None:
    done = run("check", GUARDED)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("valid: Airflow 3.0.6")


def test_it_says_how_much_each_promise_judged() -> None:
    last = run("check", GUARDED).stdout.splitlines()[-1]
    assert last.startswith("  judged: task instances: unique-try 1, retry-after-end 1, ")
    assert "; pods: single-live-pod 1; " in last


def test_an_invalid_history_exits_1_and_states_the_promise() -> None:
    done = run("check", RACE)
    assert (done.returncode, done.stderr) == (1, "")
    assert "A task instance is scheduled once a try, but scheduler-2 raised" in done.stdout


def test_the_witness_is_told_when_asked_for() -> None:
    told = run("check", "--witness", RACE).stdout
    assert "scheduled it again: try_number 1 -> 2" in told
    assert "scheduled it again" not in run("check", RACE).stdout


def test_json_is_the_verdict_and_nothing_else() -> None:
    done = run("check", "--json", "--witness", RACE)
    assert done.returncode == 1
    assert json.loads(done.stdout)["violations"]["unique-try"] == 1


def test_an_unmet_assumption_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "history.ndjson"
    text = GUARDED.read_text().replace('"met": true', '"met": false')
    path.write_text(text)
    done = run("check", path)
    assert done.returncode == 2
    assert "assumption not met: recorder-without-gaps" in done.stdout


def cut(tmp_path: Path, size: int) -> Path:
    path = tmp_path / "cut.ndjson"
    path.write_bytes(RACE.read_bytes()[:size])
    return path


@pytest.mark.parametrize("size", [0, 10, 400, 2000, 4000, -1])
def test_a_cut_history_exits_2_with_one_clear_line(tmp_path: Path, size: int) -> None:
    if size == -1:
        size = len(RACE.read_bytes().rpartition(b'{"kind": "end"')[0])
    done = run("check", cut(tmp_path, size))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("unknown: ")
    assert done.stderr.count("\n") == 1


def test_what_a_cut_history_showed_is_mentioned(tmp_path: Path) -> None:
    size = len(RACE.read_bytes().rpartition(b'{"kind": "end"')[0])
    assert "(4 violations until there)" in run("check", cut(tmp_path, size)).stderr


def test_a_missing_history_exits_2_with_one_clear_line(tmp_path: Path) -> None:
    done = run("check", tmp_path / "missing.ndjson")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert json.loads(run("check", "--json", tmp_path).stdout)["verdict"] == "unknown"


def test_the_bound_decides_what_is_lost() -> None:
    path = HISTORIES / "no-lost-task" / "invalid-task-stays-queued.ndjson"
    assert run("check", path).returncode == 1
    assert run("check", "--bound", "120", path).returncode == 0


def test_help_teaches_exit_codes_and_promises() -> None:
    told = run("check", "--help").stdout
    assert "exit codes:" in told
    assert "A task instance is scheduled once a try" in told


def test_bad_usage_exits_2() -> None:
    assert run().returncode == 2
    assert run("judge", RACE).returncode == 2
