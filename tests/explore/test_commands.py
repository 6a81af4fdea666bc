"""What the commands refuse is told in a line, before a lab is booted; and how they end."""

from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from explore import __main__ as commands
from explore import schedule as schedules
from explore.explorer import Explorer, Totals
from explore.plan import SHAPES
from explore.replay import replay as replayed
from explore.schedule import Schedule
from lab.base import Airflow, Lab
from tests.explore.test_schedule import SCHEDULE


@pytest.fixture
def no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    def booted(*_: object) -> None:
        raise AssertionError("a lab is booted")

    monkeypatch.setattr(commands, "_lab", booted)
    monkeypatch.setattr(commands, "prepare", lambda spec: Airflow(spec, spec))


def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["explore", *argv])
    code = commands.main()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return code, lines[0]


@pytest.mark.usefixtures("no_lab")
def test_a_folder_that_is_of_no_use_is_told_before_the_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exploration.json").write_text("{")
    run = ("run", "--airflow", "3.0.6", "--folder")
    code, line = said(monkeypatch, capsys, *run, str(tmp_path))
    assert code == 2
    assert "Remove it to begin anew" in line
    code, line = said(monkeypatch, capsys, *run, str(tmp_path / "exploration.json"))
    assert code == 2
    assert "cannot be made" in line


@pytest.mark.usefixtures("no_lab")
@pytest.mark.parametrize("command", ["replay", "shrink"])
@pytest.mark.parametrize(
    ("schedule", "folder", "told"),
    [
        (SCHEDULE, "", "is of other DAGs (serial) than those that are explored now"),
        (replace(SCHEDULE, broken=[]), "", "does not say which promise was broken"),
        (replace(SCHEDULE, shapes=SHAPES), "notes", "is in the way"),
    ],
)
def test_a_schedule_that_cannot_be_replayed_is_told_before_the_boot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    schedule: Schedule,
    folder: str,
    told: str,
) -> None:
    file = tmp_path / "schedule.yaml"
    schedules.write(schedule, file)
    monkeypatch.setattr(commands, "_say", lambda _: None)
    notes = tmp_path / {"replay": "replays", "shrink": "shrunk"}[command] / folder
    notes.mkdir(parents=True)
    code, line = said(monkeypatch, capsys, command, str(file))
    assert code == 2
    assert told in line
    assert notes.exists()


def test_a_replay_that_is_interrupted_says_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explore(explorer: Explorer, _: object) -> None:
        explorer.totals = Totals(rounds=4, unknown=1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Explorer, "explore", explore)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        replayed(cast("Lab", None), SCHEDULE, 10, tmp_path, tell=lines.append)
    assert lines[0].startswith("shown in 0 of 3 rounds (0% to")
    assert lines[0].endswith("1 unknown")


def test_an_interrupt_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_explain", stopped)
    assert said(monkeypatch, capsys, "explain", str(tmp_path))[0] == 130
