"""A bisect goes on where it was stopped, by whatever, and mixes no two questions."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.campaigns.state import BISECTS
from tests.reports.campaigns.killed import bisect

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("session", [1, 2, 4, 7])
def test_a_killed_bisect_goes_on_with_what_it_has(session: int, tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.reports.campaigns.killed", str(tmp_path), str(session)],
        cwd=PROJECT,
        check=False,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL
    found = bisect(tmp_path)
    assert found.text() == (
        "First fixed release: 3.2.0 (3.1.8 reproduces it, 3.2.0 does not), "
        "5 releases tried in 7 runs."
    )
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert bisect(undisturbed).text() == found.text()
    assert (tmp_path / "asked").read_text() == (undisturbed / "asked").read_text()


def test_a_bisect_that_is_done_runs_nothing(tmp_path: Path) -> None:
    first = bisect(tmp_path)
    asked = (tmp_path / "asked").read_text()
    assert bisect(tmp_path).text() == first.text()
    assert (tmp_path / "asked").read_text() == asked
    steps = json.loads((tmp_path / "57618.json").read_text())["steps"]
    assert {name: step["verdict"] for name, step in steps.items()}["3.2.0"] == "clean"


STATE_OF_BEFORE = """\
{
  "schema": 2,
  "plan": {
    "seed": 7, "scenarios": ["57618"], "profile": "quick", "lab": "embedded", "schedulers": 2,
    "count": 1, "workers": 0
  },
  "patience": {"rate": 0.8, "confidence": 0.95, "sessions": 3},
  "ends": ["3.0.6", "3.3.2"],
  "releases": {"pinned": ["3.0.6", "3.2.0", "3.3.2"]},
  "steps": {
    "3.3.2": {
      "airflow": "3.3.2", "verdict": "clean", "hits": 0, "trials": 2, "runs": 2, "reason": ""
    }
  }
}
"""


def test_a_state_of_before_goes_on(tmp_path: Path) -> None:
    (tmp_path / "57618.json").write_text(STATE_OF_BEFORE)
    bisect(tmp_path)
    assert "3.3.2" not in (tmp_path / "asked").read_text().split()
    kept = json.loads((tmp_path / "57618.json").read_text())
    before = json.loads(STATE_OF_BEFORE)
    assert kept.keys() == before.keys()
    assert kept["steps"]["3.3.2"] == before["steps"]["3.3.2"]
    assert kept["patience"] == before["patience"]


def test_the_plan_names_the_releases_and_runs_nothing(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    arguments = ["--scenario", "57618", "--good", "3.3.2", "--bad", "3.0.6", "--name", "no-such"]
    assert main(["bisect", *arguments, "--pinned", "--dry-run", "--seed", "7"]) == 0
    assert "5 releases, pinned: 3.0.6, 3.1.1, 3.1.8, 3.2.0, 3.3.2" in caplog.text
    assert "At most 4 are tried; seed 7" in caplog.text
    assert "--airflow 3.1.8 --lab embedded" in capsys.readouterr().out
    assert not (BISECTS / "no-such.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bad", "3.0.6"], "Give either --good, or patches"),
        (["--bad", "3.0.6", "--good", "3.0.6"], "the same release"),
        (["--bad", "3.0.6", "--good", "3.3.2", "--rate", "1.5"], "A rate of 1.5 cannot be told"),
        (["--bad", "2.9.0", "--good", "3.3.2"], "older than 3.0"),
        (["--bad", "3.0.6", "--patch", "a=/no/such/place"], "There is no '/no/such/place'"),
        (["--bad", "3.0.6", "--patch", "a=3.2.0", "--patch", "a=3.3.2"], "the same name"),
    ],
)
def test_bad_input_is_one_line_and_exits_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bisect", "--scenario", "57618", "--name", "no-such", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_state_of_another_question_is_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bisect(tmp_path)
    monkeypatch.setattr("reports.campaigns.bisect.BISECTS", tmp_path)
    same = ["bisect", "--scenario", "57618", "--bad", "3.0.6", "--good", "3.3.2", "--name", "57618"]
    assert main([*same, "--pinned", "--dry-run"]) == 0
    assert main([*same, "--pinned", "--dry-run", "--seed", "8"]) == 2
    assert "asks something else" in capsys.readouterr().err
    (tmp_path / "57618.json").write_text('{"schema": 1')
    assert main([*same, "--pinned", "--dry-run"]) == 2
    assert "is not a bisect" in capsys.readouterr().err
