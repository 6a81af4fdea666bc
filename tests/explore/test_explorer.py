"""What counts as a find: what a round broke while it was controlled, and nothing is lost of it."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from common.interrupts import undisturbed
from explore import schedule as schedules
from explore.explain import judged
from explore.explorer import Drawn, Explorer, Totals
from explore.finds import is_of
from explore.plan import ALIVE
from explore.rounds import LONGEST, Round
from lab.base import Lab
from oracle.events import DagRunEvent
from oracle.invariants import Violation
from recorder.recorder import RecorderError
from tests.explore.test_explain import HISTORY
from tests.explore.test_schedule import SCHEDULE

JUDGEMENT = judged(HISTORY)
BROKE = min(each.t for each in JUDGEMENT.violations)
WHOLE = {"began": 0.0, "ended": BROKE + 1, "times": [BROKE - 1, BROKE, BROKE + 0.5]}


def explored(folder: Path, done: Round) -> tuple[Explorer, list[str]]:
    said: list[str] = []
    explorer = Explorer(cast("Lab", None), folder, 1, Drawn(1), tell=said.append)
    explorer._judged(JUDGEMENT, [(done, replace(SCHEDULE, broken=[], until=0))], folder)
    return explorer, said


def a_round(**more: object) -> Round:
    return Round(3, "x3-ab", **WHOLE | more)  # type: ignore[arg-type]


def test_what_a_round_broke_is_kept_with_its_schedule(tmp_path: Path) -> None:
    explorer, said = explored(tmp_path, a_round(over=True))
    path = tmp_path / "finds" / "3" / "schedule.yaml"
    kept = schedules.read(path)
    assert (kept.broken, kept.until) == (["max-active-runs"], 2)
    assert "broke max-active-runs" in said[0]
    assert said[1].endswith(f"python -m explore replay {path}")
    assert (explorer.totals.finds, explorer.totals.unknown) == (1, 0)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"over": False}, f"not over in {LONGEST:.0f} s"),
        ({"over": True, "silent": ALIVE / 2}, "a heartbeat was 300 s late"),
    ],
)
def test_what_an_unknown_round_broke_does_not_count(
    tmp_path: Path, more: dict[str, object], why: str
) -> None:
    explorer, said = explored(tmp_path, a_round(**more))
    assert (explorer.finds, explorer.totals.unknown) == ([], 1)
    assert why in said[0]
    assert "max-active-runs does not count" in said[0]


def test_a_batch_without_rounds_says_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    explorer = Explorer(cast("Lab", None), tmp_path, 1, Drawn(1), tell=said.append)
    explorer._judged(dataclasses.replace(JUDGEMENT, verdict="unknown"), [], tmp_path)
    assert (said, explorer.totals.unknown) == ([], 0)


@pytest.mark.parametrize(("ended", "found"), [(BROKE + 1, 1), (BROKE - 0.1, 0)])
def test_a_round_that_is_interrupted_counts_until_then(
    tmp_path: Path, ended: float, found: int
) -> None:
    explorer, _ = explored(tmp_path, a_round(interrupted=True, ended=ended))
    assert (len(explorer.finds), explorer.totals.unknown) == (found, 0)


@pytest.mark.parametrize(("ended", "found"), [(BROKE + 1, 1), (BROKE - 0.1, 0)])
def test_what_broke_while_all_went_on_freely_after_a_round_does_not_count(
    tmp_path: Path, ended: float, found: int
) -> None:
    explorer, _ = explored(tmp_path, a_round(over=True, freed=True, ended=ended))
    assert len(explorer.finds) == found


def test_a_violation_is_of_the_round_whose_runs_it_names() -> None:
    """Though it came while the next one was explored."""
    run = DagRunEvent(
        t=12.0,
        dag_id="serial",
        run_id="x3-ab-1",
        op="update",
        process="scheduler-1",
        old="queued",
        new="running",
    )
    late = Violation("max-active-runs", "two", None, 12.0, (run,))
    third, fourth = (
        Round(n, f"x{n}-ab", 10.0 * (n - 3), 10.0 * (n - 2), over=True) for n in (3, 4)
    )
    assert [is_of(late, each) for each in (third, fourth)] == [True, False]


def test_finds_of_one_round_are_all_kept(tmp_path: Path) -> None:
    """One that was interrupted is drawn once more, by the same number."""
    explorer = Explorer(cast("Lab", None), tmp_path, 1, Drawn(1), tell=lambda _: None)
    for broken in ("unique-try", "max-active-runs"):
        explorer.found(replace(SCHEDULE, round=3, broken=[broken]), tmp_path)
    kept = {
        each.folder.name: schedules.read(each.folder / "schedule.yaml").broken
        for each in explorer.finds
    }
    assert kept == {"3": ["unique-try"], "3-2": ["max-active-runs"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_what_must_not_be_cut_short(number: int) -> None:
    before = signal.getsignal(number)
    done: list[int] = []

    def work() -> None:
        with undisturbed():
            os.kill(os.getpid(), number)
            done.append(number)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert signal.getsignal(number) is before


def test_one_round_is_told_as_one() -> None:
    explorer = Explorer(cast("Lab", None), Path(), 1, Drawn(1), totals=Totals(rounds=1))
    assert explorer.totals.line(explorer.coverage).startswith("1 round (")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_not_lost_where_what_must_not_be_cut_short_fails(number: int) -> None:
    def fails() -> None:
        os.kill(os.getpid(), number)
        raise RecorderError("It cannot be read.")

    with pytest.raises(KeyboardInterrupt), undisturbed():
        fails()
