"""`python -m reports build`, as its user meets it."""

from pathlib import Path

import pytest

from reports.__main__ import main
from tests.reports.dashboard.folders import CLEAN, make_run

POLICY = Path(__file__).resolve().parents[3] / "reports" / "policy.yaml"


def run(runs: Path, out: Path) -> int:
    return main(["build", str(runs), "--out", str(out), "--policy", str(POLICY), "--no-allure"])


def test_it_prints_the_page_to_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "runs", "3.3.2", CLEAN)
    assert run(tmp_path / "runs", tmp_path / "site") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "site" / "index.html")


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    assert run(tmp_path / "runs", tmp_path / "site") == 2
    said = capsys.readouterr().err
    assert "There is no run in" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "site").exists()


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs", "3.3.2", CLEAN)
    assert run(tmp_path / "runs", Path("/proc/site")) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert said.count("\n") == 1
