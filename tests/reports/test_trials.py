"""What became of every test is asked once, and old names mean what they mean now."""

import shutil
from pathlib import Path

from oracle.old_names import ASSUMPTIONS
from reports.allure.pasts import gather
from reports.gate.policy import read_policy
from reports.matrix.table import table
from reports.records import Assumption
from reports.store import read_run, read_runs
from reports.trials import Build, all_trials
from tests.reports.allure.made_runs import RunsBuilder
from tests.reports.matrix.told import keep, record, shown

PASSED = {"outcome": "passed"}
OLD, NEW = "test_gated[57618-fan-out-{place}]", "test_held[57618-fan-out-{place}]"


def test_a_run_folder_of_before_is_about_the_same_test(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(test=OLD))
    keep(tmp_path, 2, record(test=NEW))
    old, new = all_trials(read_runs([tmp_path]).folders)
    assert old.test == new.test
    assert old.id == "test_held[57618-fan-out-embedded-3.0.6]"
    assert (old.verdict, new.verdict) == ("invalid", "valid")
    (cell,) = table(read_runs([tmp_path])).cells.values()
    assert cell.text(bounds=False) == "reproduced: 1 of 2"


def test_what_a_session_of_before_collected_has_its_present_name(tmp_path: Path) -> None:
    one = record(test=OLD)
    lost = one.test.replace("fan-out", "start-task")
    run = keep(tmp_path, 1, one, collected=[one.test, lost], tests={one.test: PASSED})
    assert [trial.never_ended for trial in all_trials([read_run(run)])] == [False, True]
    assert all("test_held" in trial.test for trial in all_trials([read_run(run)]))


def test_an_assumption_of_before_has_its_present_name(tmp_path: Path) -> None:
    (old, new), *_ = ASSUMPTIONS.items()
    run = keep(tmp_path, 1, record(assumptions=[Assumption(old, True)]))
    assert [each.name for each in read_run(run).tests[0].assumptions] == [new]


def test_allures_history_of_before_goes_on(tmp_path: Path) -> None:
    runs = RunsBuilder(tmp_path / "runs")
    runs.session(1).test("test_gated[fan-out]", "invalid")
    runs.session(2).test("test_held[fan-out]")
    (past,) = gather(runs.shelf).pasts
    assert [trial.result is not None for trial in past.trials] == [True, True]
    assert past.older_violation is past.trials[0]
    assert past.newest.name.short == "test_held[fan-out]"


def test_a_policy_of_before_names_the_same_test(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('performance: {tests: ["*::test_gated*"]}\n')
    performance = read_policy(path).performance
    assert performance.measures("suites/test_duplicate_tries.py::test_held[57618-kind-3.0.6]")


def test_an_acceptance_of_before_covers_the_same_test(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "safety: {accepted: [{scenario: '57618', tests: '*::test_gated*', airflow: '>=3',"
        " reason: a, owner: b, until: 2027-01-01}]}\n"
    )
    (acceptance,) = read_policy(path).safety.accepted
    assert acceptance.covers(shown(test=NEW)) == {"unique-try"}


def test_every_test_of_a_session_is_a_trial_once(tmp_path: Path) -> None:
    one = record()
    stray = "suites/test_x.py::test_stray[embedded-3.0.6]"
    lost = "suites/test_x.py::test_lost[embedded-3.0.6]"
    ends = {one.test: PASSED, stray: {"outcome": "skipped"}}
    run = keep(tmp_path, 1, one, collected=[one.test, lost], tests=ends)
    keep(tmp_path, 2, record(airflow="3.3.2"))
    trials = all_trials(read_runs([tmp_path]).folders)
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert {t.name.bare: (t.verdict, t.stray) for t in trials if t.run.path == run} == {
        "test_held[57618-start-task]": ("valid", False),
        "test_lost": ("unknown", False),
        "test_stray": ("skipped", True),
    }
    assert {trial.build for trial in trials} == {Build("3.0.6", "3.0.6"), Build("3.3.2", "3.3.2")}


def test_a_violation_is_proof_however_its_test_ended(tmp_path: Path) -> None:
    keep(tmp_path, 1, shown(), tests={})
    (trial,) = all_trials(read_runs([tmp_path]).folders)
    assert trial.never_ended
    assert trial.verdict == "invalid"


def test_a_trial_without_a_record_has_the_same_name(tmp_path: Path) -> None:
    run = keep(tmp_path, 1, record(airflow="my-fix"))
    named = all_trials([read_run(run)])[0].name
    shutil.rmtree(run / "tests")
    (trial,) = all_trials([read_run(run)])
    assert trial.record is None
    assert trial.name == named
    assert named.full == "suites/test_duplicate_tries.py::test_held[57618-start-task]"
