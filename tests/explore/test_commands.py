"""What the commands refuse is told in a line, before a lab is booted; and how they end."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from explore import __main__ as commands
from explore import schedule as schedules
from explore.coverage import Coverage
from explore.explorer import Explorer, LabLost, Totals
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


@dataclass
class Batches:
    """An explorer whose next batch has so many finds and rounds, and whose lab may then be lost."""

    batches: list[tuple[int, int, bool]]
    number: int = 0
    folder: Path = Path("folder")
    coverage: Coverage = field(default_factory=Coverage)

    def __post_init__(self) -> None:
        self.totals, self.finds = Totals(), list[str]()

    def explore(self, _over: object) -> None:
        finds, rounds, lost = self.batches.pop(0)
        self.number += rounds
        self.finds += ["find"] * finds
        self.totals.rounds += rounds
        if lost:
            raise LabLost("The lab does not recover.", "Boot another.")


@pytest.mark.usefixtures("no_lab")
@pytest.mark.parametrize(
    ("arguments", "batches", "code"),
    [
        (["--first"], [(1, 3, True)], 1),
        (["--rounds", "3"], [(1, 3, True)], 1),
        (["--rounds", "3"], [(0, 3, True)], 0),
        (["--rounds", "9"], [(0, 2, True)] * 4 + [(0, 1, False)], 0),
        (["--rounds", "9"], [(0, 0, True)] * 3, 2),
        (["--rounds", "9"], [(1, 2, True), *[(0, 0, True)] * 2], 1),
    ],
)
def test_what_was_found_is_told_though_its_lab_was_lost(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    batches: list[tuple[int, int, bool]],
    code: int,
) -> None:
    left = list(batches)
    monkeypatch.setattr(commands, "_lab", lambda *_: nullcontext())
    monkeypatch.setattr(commands, "_explorer", lambda *_: Batches(left))
    monkeypatch.setattr(commands, "remember", lambda _: None)
    monkeypatch.setattr(commands, "remember_told", lambda _: None)
    monkeypatch.setattr(
        "sys.argv", ["explore", "run", "--airflow", "3.3.2", "--folder", str(tmp_path), *arguments]
    )
    assert commands.main() == code
    assert left == []


def test_an_interrupt_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_explain", stopped)
    assert said(monkeypatch, capsys, "explain", str(tmp_path))[0] == 130
