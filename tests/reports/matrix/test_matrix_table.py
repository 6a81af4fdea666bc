"""The matrix holds every run once, under its Airflow and its question, and says what differs."""

import shutil
from pathlib import Path

import pytest

from reports.__main__ import main
from reports.matrix.cells import variant
from reports.matrix.model import Matrix
from reports.matrix.table import table
from reports.records import name_of
from reports.store import read_runs
from tests.reports.matrix.told import RUNS, keep, known, record, shown

SAFE = known(affected=False)


@pytest.mark.parametrize(
    ("test", "airflow", "name"),
    [
        ("test_held[57618-fan-out-embedded-3.0.6]", "3.0.6", "57618 fan-out"),
        ("test_held[57618-fan-out-embedded-3.0.6-2-5]", "3.0.6", "57618 fan-out"),
        ("test_held[57618-start-task-kind-my-fix-2]", "my-fix-2", "57618 start-task"),
        ("test_frozen[critical-section-frozen-kind-3.3.2]", "3.3.2", "critical-section frozen"),
        ("test_link_cut[kind-3.3.2-reset-1-9]", "3.3.2", "link cut (reset)"),
        ("test_link_loss[kind-3.3.2-1-9]", "3.3.2", "link loss"),
        ("test_link_cut[kind-3.3.2-reset]", "a name that is not in it", "link cut (reset)"),
    ],
)
def test_a_test_id_says_which_question_it_is(test: str, airflow: str, name: str) -> None:
    lab = "kind" if "kind" in test else "embedded"
    scenarios = {"57618", "critical-section"}
    found = variant(name_of(f"suites/test_x.py::{test}", lab, {airflow}), scenarios)
    assert found.name == name
    assert found.question.is_scenario == (name.split()[0] in scenarios)


def of(folder: Path) -> Matrix:
    return table(read_runs([folder]))


def test_real_runs_of_several_labs_and_releases() -> None:
    text = of(RUNS).text()
    assert "3.0.6 embedded                    reproduced: 1 of 2" in text
    assert "3.1.8-7e31951221-3.1.8 embedded   reproduced: 1 of 1" in text
    assert "3.3.2 embedded, 57618: 1 run broke no-lost-task." in text
    assert "critical-section: a limit of Airflow's design" in text
    assert "3.0.6 embedded, 57618: known to be affected, and 57618 start-task never showed" in text
    assert "database restart (immediate)" in text
    assert "Lab: embedded, kind; schedulers: 2" in text
    assert "\033" not in text


def test_two_builds_under_one_name_are_two_rows(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(build="aa11"))
    keep(tmp_path, 2, record(build="bb22", race=SAFE))
    matrix = of(tmp_path)
    assert [matrix.row_name(row) for row in matrix.rows] == ["3.0.6 build aa11", "3.0.6 build bb22"]
    assert "build aa11   reproduced: 1 of 1" in matrix.text()
    assert "build bb22   clean: 0 of 1" in matrix.text()


def test_what_left_no_record_belongs_to_the_build_of_its_name(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(build="aa11"))
    run = keep(tmp_path, 2, record(build="aa11"))
    shutil.rmtree(run / "tests")
    matrix = of(tmp_path)
    assert [matrix.row_name(row) for row in matrix.rows] == ["3.0.6"]
    assert "1 unknown" in matrix.text()


def test_versions_are_in_order_and_their_neighbours_compared_by_seed(tmp_path: Path) -> None:
    for number, seed in enumerate(range(1, 7)):
        keep(tmp_path, number, shown(airflow="3.1.8", seed=seed))
        keep(tmp_path, 10 + number, record(airflow="3.10.0", seed=seed, race=SAFE))
        keep(tmp_path, 20 + number, record(airflow="3.2.0", seed=seed, race=SAFE))
    matrix = of(tmp_path)
    assert [row.build.label for row in matrix.rows] == ["3.1.8", "3.2.0", "3.10.0"]
    (told,) = matrix.comparisons
    assert told.startswith("57618: 3.1.8 shows it more often than 3.2.0: 6 of 6 against 0 of 6")
    assert told.endswith("6 with the same test and seed.")
    assert "the same seeds for all: 1, 2, 3, 4, 5, ..." in matrix.notes[0]


def test_different_seeds_are_told(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(seed=1))
    keep(tmp_path, 2, record(airflow="3.2.0", seed=2, race=SAFE))
    assert "2 seeds, not the same for all" in of(tmp_path).notes[0]


def test_a_race_in_a_release_that_was_not_known_to_have_it_is_told(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(airflow="3.3.2", race=SAFE))
    assert "3.3.2, 57618: this release was not known to have it." in of(tmp_path).text()


def test_tests_without_a_verdict_come_from_the_session(tmp_path: Path) -> None:
    one = record(race=SAFE)
    frozen = "suites/test_stalled_scheduler.py::test_frozen[critical-section-frozen-embedded-3.0.6]"
    lost = "suites/test_faults.py::test_link_loss[embedded-3.0.6]"
    ended = {one.test: {"outcome": "passed"}, frozen: {"outcome": "skipped"}}
    keep(tmp_path, 1, one, collected=[one.test, frozen, lost], tests=ended)
    text = of(tmp_path).text()
    assert "not applicable" in text
    assert "link loss           unconfirmed: 1 unknown" in text


def test_a_narrow_terminal_loses_the_bounds_and_not_the_counts(tmp_path: Path) -> None:
    keep(tmp_path, 1, record(race=SAFE))
    matrix = of(tmp_path)
    assert "0 of 1, at most 95.0 %" in matrix.text(width=80)
    assert matrix.text(width=30).splitlines()[1] == "3.0.6     clean: 0 of 1"


def test_colours_are_only_where_they_are_asked_for(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown())
    assert "\033[31mreproduced\033[0m: 1 of 1" in of(tmp_path).text(colour=True)


def test_the_command_shows_and_writes_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "matrix.md"
    assert main(["matrix", "--from", str(RUNS), "--markdown", str(file)]) == 0
    assert "reproduced: 1 of 2" in capsys.readouterr().out
    assert "| 3.0.6 embedded | reproduced: 1 of 2, 1.3 % to 98.7 % |" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "/no/such/place"], "does not exist"),
        (["--airflow", "2.10.5"], "older than 3.0"),
        (["--scenario", "nothing", "--airflow", "3.0.6"], "There is no scenario 'nothing'"),
        (["--scenario", "57618", "--profile", "whole"], "cannot be limited"),
    ],
)
def test_bad_input_is_one_line_and_exits_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["matrix", "--into", str(tmp_path / "m"), *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
