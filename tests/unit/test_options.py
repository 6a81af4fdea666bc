"""Bad input to the suite is one clear line, and nothing is booted for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.markers import settings_lines
from harness.session import _require_distinct
from lab.environments.pins import pinned
from tests import forked
from tests.unit.environments_fakes import write_checkout, write_wheel

PROJECT = Path(__file__).resolve().parent.parent.parent


def collect(*arguments: str) -> tuple[int, str]:
    """Let pytest collect the suites; return its exit code and all that it said."""
    done = forked.run(
        [sys.executable, "-m", "pytest", "suites", "--collect-only", "-q", *arguments],
        cwd=PROJECT,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--airflow", "2.10.5"), "older than 3.0"),
        (("--airflow", "/no/such/place"), "There is no '/no/such/place'"),
        (("--airflow", "README.md"), "neither a wheel nor a Python"),
        (("--schedulers", "0"), "at least 1"),
        (("--schedulers", "two"), "invalid"),
        (("--lab", "moon"), "invalid choice: 'moon'"),
        (("--keep-lab", "perhaps"), "invalid choice: 'perhaps'"),
        (("--until-clear", "0.01", "--whole-flood"), "give one of them"),
        (("--until-clear", "1"), "must lie between 0 and 1"),
        (("--flood-dags", "x"), "give that too"),
        (("--dags", "/nope"), "--dags /nope: there is no such folder"),
        (("--lab", "cluster", "--dags", "suites"), "a deployment has its own DAGs"),
        (("--lab", "kind", "--layer", "dags-own"), "--layer dags-own goes with DAGs of yours"),
        (("--set", "core.parallelism"), "Write section.option=value"),
        (("--set", "core.executor=x"), "--set core.executor: the lab itself decides that"),
        (("--lab", "cluster", "--set", "core.parallelism=3"), "are its owner's to set"),
    ],
)
def test_a_bad_option_is_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, output = collect(*arguments)
    assert code == 4
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize("looks", [("--collect-only", "-q"), ("-n", "0")])
def test_who_only_looks_is_refused_in_the_line_of_a_run(
    tmp_path: Path, looks: tuple[str, ...]
) -> None:
    (write_checkout(tmp_path / "checkout", "3.0.6") / "task-sdk/pyproject.toml").unlink()
    wheel = write_wheel(tmp_path, "apache-airflow-providers-google", "20.0.0")
    for spec, said in (
        (tmp_path / "checkout", "task-sdk/pyproject.toml does not say what it needs: "),
        (wheel, "has only apache-airflow-providers-google, which no lab runs."),
    ):
        told = Told(tmp_path, "--airflow", str(spec), *looks)
        assert told.code == 4, told.said
        assert len(told.errors) == 1, told.said
        assert told.errors[0].startswith(f"ERROR: --lab embedded --airflow {spec}: ")
        assert said in told.errors[0]


def test_collecting_refuses_a_layer_that_there_is_not() -> None:
    code, output = collect("--lab", "kind", "--layer", "nothing")
    assert code == 4
    assert "There is no values layer 'nothing'." in output


def test_collecting_says_of_a_version_that_only_the_index_knows_it() -> None:
    code, output = collect("--airflow", "9.9.9", "--airflow", "3.0.6")
    assert code == 0
    said = "Airflow 9.9.9 is not pinned: only a run asks the package index whether it was published"
    assert said in output
    assert "Airflow 3.0.6 is not" not in output


class Told:
    """What a session of the suites said before its first test, and how long it took."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        runs = folder / "runs"
        done = forked.run(
            [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", *arguments],
            cwd=PROJECT,
            env={**os.environ, "HA_CHAOS_RUNS": str(runs), **env},
        )
        self.code = done.returncode
        self.said = done.stdout + done.stderr
        self.errors = [line for line in self.said.splitlines() if line.startswith("ERROR")]
        self.left = [*runs.iterdir()] if runs.is_dir() else []


@pytest.mark.parametrize("workers", ["0", "3"])
def test_an_airflow_that_cannot_be_had_is_told_once(tmp_path: Path, workers: str) -> None:
    index = {"UV_INDEX_URL": "http://127.0.0.1:9/simple", "UV_DEFAULT_INDEX": ""}
    told = Told(tmp_path, "--airflow", "9.9.9", "-n", workers, **index)
    assert told.code == 4, told.said
    assert len(told.errors) == 1, told.said
    assert told.errors[0].startswith("ERROR: --lab embedded --airflow 9.9.9: ")
    assert "Traceback" not in told.said
    assert told.left == []


@pytest.mark.parametrize("workers", ["0", "3"])
def test_a_kind_lab_without_its_programs_is_told_once(tmp_path: Path, workers: str) -> None:
    nothing = {"PATH": str(tmp_path), "HA_CHAOS_CACHE": str(tmp_path / "cache")}
    told = Told(tmp_path, "--lab", "kind", "-n", workers, **nothing)
    assert told.code == 4, told.said
    assert told.errors == [told.errors[0]]
    assert "A kind lab needs docker, kind and helm, which are missing." in told.errors[0]
    assert "make tools" in told.errors[0]
    assert told.left == []


def test_a_cache_that_cannot_be_made_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = Told(tmp_path, HA_CHAOS_CACHE=str(tmp_path / "file" / "cache"))
    assert told.code == 4, told.said
    assert len(told.errors) == 1
    assert str(tmp_path / "file") in told.errors[0]
    assert "Traceback" not in told.said


def test_runs_that_cannot_be_kept_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    told = Told(tmp_path, HA_CHAOS_RUNS=str(tmp_path / "runs" / "here"))
    assert told.code == 4, told.said
    assert len(told.errors) == 1
    assert f"Runs cannot be kept in {tmp_path / 'runs' / 'here'}: " in told.errors[0]
    assert "HA_CHAOS_CACHE" in told.errors[0]
    assert "HA_CHAOS_RUNS" in told.errors[0]
    assert "Traceback" not in told.said


def test_a_layer_that_there_is_not_is_told_once(tmp_path: Path) -> None:
    told = Told(tmp_path, "--lab", "kind", "--layer", "nothing")
    assert told.code == 4, told.said
    assert "There is no values layer 'nothing'." in told.errors[0]


@pytest.mark.parametrize("looks", ["--collect-only", "--help", "--fixtures"])
def test_who_only_looks_needs_nothing(tmp_path: Path, looks: str) -> None:
    nothing = {"PATH": str(tmp_path), "HA_CHAOS_CACHE": str(tmp_path / "cache")}
    told = Told(tmp_path, looks, "--lab", "kind", "--airflow", "9.9.9", **nothing)
    assert told.code == 0, told.said
    assert told.left == []


def test_a_session_that_finds_no_test_leaves_nothing(tmp_path: Path) -> None:
    told = Told(tmp_path, "-k", "there_is_none_of_this_name")
    assert told.code == 5, told.said
    assert told.left == []


def test_every_airflow_gets_a_test_of_each_permutation() -> None:
    code, output = collect("--airflow", "3.0.6", "--airflow", "3.3.2", "-k", "held")
    assert code == 0
    for version in ("3.0.6", "3.3.2"):
        for permutation in ("start-task", "fan-out"):
            assert f"test_held[57618-{permutation}-embedded-{version}]" in output


def test_all_stands_for_every_pinned_airflow_once() -> None:
    code, output = collect("--airflow", "all", "--airflow", "3.0.6", "-k", "held and start-task")
    assert code == 0
    for version in pinned():
        assert output.count(f"test_held[57618-start-task-embedded-{version}]") == 1


def test_names_of_before_select_what_they_selected() -> None:
    """A hold was a gate: `-k gated`, a node id, and one to leave out."""
    _, present = collect("--airflow", "3.3.2", "-k", "held and start-task")
    _, before = collect("--airflow", "3.3.2", "-k", "gated and start-task")
    test = "test_held[57618-start-task-embedded-3.3.2]"
    chosen = [line for line in before.splitlines() if "::" in line]
    assert chosen == [line for line in present.splitlines() if "::" in line]
    assert any(line.endswith(test) for line in chosen)


def test_a_node_id_of_before_is_found(tmp_path: Path) -> None:
    old = "suites/test_duplicate_tries.py::test_gated[57618-start-task-embedded-3.3.2]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", old, "--collect-only", "-q", "--airflow", "3.3.2"],
        cwd=PROJECT,
        env={**os.environ, "HA_CHAOS_RUNS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert old.replace("gated", "held") in done.stdout
    _, left = collect("--airflow", "3.3.2", "-k", "start-task", "--deselect", old)
    assert "57618-start-task" not in left


@pytest.mark.parametrize("workers", ["0", "2"])
def test_too_few_schedulers_are_told_once_and_nothing_boots(tmp_path: Path, workers: str) -> None:
    told = Told(tmp_path, "--schedulers", "1", "-k", "held", "-n", workers)
    assert told.code == 4, told.said
    assert len(told.errors) == 1, told.said
    assert "needs 2 schedulers. Give --schedulers 2 or more" in told.errors[0]
    assert "Traceback" not in told.said
    assert told.left == []


def test_the_help_names_every_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--help"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("--lab", "--airflow", "--schedulers", "--seed", "--labs", "--keep-lab"):
        assert f"  {option}" in done.stdout
    for variable in ("HA_CHAOS_CACHE: folder of", "HA_CHAOS_RUNS: folder of"):
        assert variable in done.stdout


def test_what_is_set_is_said_first_and_who_keeps_his_own() -> None:
    """active-runs sets it to 1; a scenario that sets the same, or nothing, is not named."""
    page = "AIRFLOW__API__MAXIMUM_PAGE_LIMIT"
    assert settings_lines({page: "7"}) == ["set: api.maximum_page_limit=7"]
    a_loop = "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE"
    (line,) = settings_lines({a_loop: "5"})
    assert line.startswith("set: scheduler.max_dagruns_per_loop_to_schedule=5 (not in active-runs,")
    assert settings_lines({a_loop: "1"}) == ["set: scheduler.max_dagruns_per_loop_to_schedule=1"]


def test_two_airflows_of_one_name_are_refused() -> None:
    """They would share a run folder, and each other's verdicts."""
    with pytest.raises(pytest.UsageError, match="have one name, airflow"):
        _require_distinct(["/a/main/airflow", "/b/fix/airflow"])
    _require_distinct(["3.0.6", "/a/airflow", "/a/airflow", "/b/mine"])
