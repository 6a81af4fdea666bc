"""The traps of Allure 3.18's quality gate: what it does by itself, and what ours makes of it.

Every test runs the real command on the same results twice: plainly, as its documentation shows,
and through reports.allure.quality_gate.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reports import performance
from reports.allure import node, quality_gate
from reports.records import Ended
from tests.reports.allure.made_runs import FILE, RACE, RunsBuilder, needs_allure

pytestmark = needs_allure

NODE_20_LACKS = (
    "const i = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));"
    "i.toArray ??= function () { return [...this]; };"
)


@pytest.fixture
def runs(tmp_path: Path) -> RunsBuilder:
    return RunsBuilder(tmp_path / "runs")


def plainly(runs: RunsBuilder, rules: dict[str, Any], command: str = "quality-gate") -> node.Ran:
    """Run one of Allure's own commands over all raw results, with rules as anyone writes them."""
    config = runs.root / "allurerc.mjs"
    told = {"output": str(runs.root / "out"), "qualityGate": {"rules": [rules]}}
    config.write_text(f"{NODE_20_LACKS}\nexport default {json.dumps(told)};\n")
    folders = [str(path) for path in sorted(runs.root.glob("*/allure-results"))]
    return node.run(command, ["--config", str(config), *folders], runs.root)


def ours(runs: RunsBuilder, minimum_tests: int = 0) -> Sequence[str]:
    answer = quality_gate.evaluate(runs.shelf, minimum_tests)
    assert answer is not None
    return answer


def test_generate_does_not_evaluate_the_gate(runs: RunsBuilder) -> None:
    """`allure generate` exits 0 and draws the report, whatever its configured gate would say."""
    runs.session(1).test("test_held[a]", "invalid")
    generated = plainly(runs, {"maxFailures": 0}, "generate")
    assert generated.code == 0
    assert (runs.root / "out" / "index.html").exists()
    assert plainly(runs, {"maxFailures": 0}).code == 1
    assert ours(runs) == ("fail", "1 of 1 tests broke a promise in a way that is not known")


def test_skipped_tests_count_towards_the_floor(runs: RunsBuilder) -> None:
    """Allure's minTestsCount is met by skipped and broken tests alike."""
    run = runs.session(1)
    run.test("test_held[a]")
    run.test("test_held[b]", ended=Ended("skipped"), record=False, status="skipped")
    assert plainly(runs, {"minTestsCount": 2}).code == 0
    assert ours(runs, 1)[0] == "pass"
    assert ours(runs, 2) == ("unknown", "only 1 tests can tell")


def test_broken_tests_count_towards_the_floor(runs: RunsBuilder) -> None:
    """A test that cannot tell is no test that was made; Allure counts it."""
    run = runs.session(1)
    run.test("test_held[a]")
    run.test("test_held[b]", "unknown", reasons=["the gate was not reached"])
    assert plainly(runs, {"minTestsCount": 2}).code == 0
    assert ours(runs, 2) == ("unknown", "only 1 tests can tell; 1 tests cannot tell")


def metric(runs: RunsBuilder, *values: float) -> None:
    """Leave measurements in the newest run, as Allure reads them."""
    told = [
        {"id": str(index), "key": "lag", "value": value, "start": 1, "stop": 2}
        for index, value in enumerate(values)
    ]
    newest = sorted(runs.root.glob("*/allure-results"))[-1]
    (newest / "scheduler-perf.json").write_text(json.dumps(told))


def test_metric_rules_judge_an_average(runs: RunsBuilder) -> None:
    """A hundred-fold worst case passes under the limit for as long as the mean does."""
    runs.session(1).test("test_held[a]")
    metric(runs, 1.0, 1.0, 100.0)
    assert plainly(runs, {"metricMax": {"key": "lag", "value": 40}}).code == 0
    metric(runs, 100.0)
    assert plainly(runs, {"metricMax": {"key": "lag", "value": 40}}).code == 1
    used = {rule for rules in quality_gate.rules(1) for rule in rules["rules"]}
    assert used == {"maxFailures", "minTestsCount"}, "speed is not for this gate to judge"


def test_delta_rules_pass_without_history(runs: RunsBuilder) -> None:
    """With nothing to compare with, Allure's delta rules hold; ours cannot tell, and says so."""
    runs.session(1).test("test_held[a]")
    metric(runs, 100.0)
    delta = {"key": "lag", "value": 5}
    assert plainly(runs, {"metricMaxDelta": delta, "metricMaxDeltaPercent": delta}).code == 0
    changes = performance.compare([], list(runs.shelf.tests))
    assert all(change.ratio is None for change in changes)


def test_a_newer_result_hides_a_violation_as_its_retry(runs: RunsBuilder) -> None:
    """Two results of one test are attempts to Allure: the newest counts, the violation is gone."""
    nodeid = f"{FILE}::test_held[a-embedded-3.3.2]"
    runs.session(1).test("test_held[a]", "invalid", result=False)
    runs.session(2).test("test_held[a]", result=False)
    for folder, status in zip(sorted(runs.root.iterdir()), ("failed", "passed"), strict=True):
        hour = int(folder.name[9:11])
        raw = {"name": nodeid.rpartition("::")[2], "fullName": nodeid, "titlePath": FILE.split("/")}
        told = {**raw, "uuid": folder.name, "status": status, "start": hour, "stop": hour + 1}
        (folder / "allure-results" / f"{folder.name}-result.json").write_text(json.dumps(told))
    assert plainly(runs, {"maxFailures": 0}).code == 0
    assert ours(runs)[0] == "fail"


def test_a_failure_that_is_marked_known_is_not_counted(runs: RunsBuilder) -> None:
    """`known` or `muted` in a result takes it out of every rule."""
    run = runs.session(1)
    run.test("test_held[a]", "invalid", result=False)
    nodeid = f"{FILE}::test_held[a-embedded-3.3.2]"
    run.result(nodeid, "failed", statusDetails={"known": True})
    assert plainly(runs, {"maxFailures": 0}).code == 0
    assert ours(runs)[0] == "fail"


@pytest.mark.parametrize("status", ["unknown", None, "fine"])
def test_a_result_that_does_not_say_how_it_ended_is_no_failure(
    runs: RunsBuilder, status: str | None
) -> None:
    """Allure's maxFailures counts failed and broken: what says neither passes."""
    run = runs.session(1)
    run.test("test_held[a]")
    run.test("test_held[b]", result=False)
    path = run.result(f"{FILE}::test_held[b-embedded-3.3.2]", "passed")
    raw = json.loads(path.read_text()) | {"status": status}
    path.write_text(json.dumps(raw if status else {k: v for k, v in raw.items() if v}))
    assert plainly(runs, {"maxFailures": 0}).code == 0
    told = f"1 result does not say how the test ended: {FILE}::test_held[b]"
    assert ours(runs) == ("unknown", told)


def test_a_violation_counts_beside_a_result_that_says_nothing(runs: RunsBuilder) -> None:
    """What cannot be told takes nothing from what is proven."""
    run = runs.session(1)
    run.test("test_held[a]", "invalid")
    run.test("test_held[b]", result=False)
    run.result(f"{FILE}::test_held[b-embedded-3.3.2]", "unknown")
    assert ours(runs)[0] == "fail"


def test_a_result_that_is_better_than_its_session_is_not_believed(runs: RunsBuilder) -> None:
    """A test that died and passed when it was run again has a good result, and a bad end."""
    run = runs.session(1)
    run.test("test_held[a]")
    run.test("test_held[b]", ended=Ended("crashed"))
    assert plainly(runs, {"maxFailures": 0}).code == 0
    assert ours(runs) == ("unknown", "1 tests cannot tell")


def test_a_result_that_cannot_be_read_is_passed_over_in_silence(runs: RunsBuilder) -> None:
    """Half a result is no result to Allure, and the gate holds without it."""
    run = runs.session(1)
    run.test("test_held[a]")
    (run.folder / "allure-results" / "x-result.json").write_text('{"status": "failed", ')
    assert plainly(runs, {"maxFailures": 0}).code == 0
    assert ours(runs)[0] == "unknown"


def test_a_test_that_died_with_its_worker_is_missed_by_nobody(runs: RunsBuilder) -> None:
    """A crashed test has no result, so no rule of Allure's sees that it is missing."""
    run = runs.session(1)
    run.test("test_held[a]")
    run.test("test_held[b]", ended=Ended("crashed"), result=False, record=False)
    assert plainly(runs, {"maxFailures": 0}).code == 0
    assert ours(runs) == ("unknown", "1 tests cannot tell")


def test_a_gate_that_crashed_looks_like_one_that_failed(runs: RunsBuilder) -> None:
    """Exit code 1 is also that of a crash: of Allure 3.18 itself on Node.js 20, for one."""
    runs.session(1).test("test_held[a]")
    config = runs.root / "broken.mjs"
    config.write_text(
        "delete Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())).toArray;"
        "export default { qualityGate: { rules: [{ maxFailures: 0 }] } };"
    )
    folder = str(next(runs.root.glob("*/allure-results")))
    crashed = node.run("quality-gate", ["--config", str(config), folder], runs.root)
    assert crashed.code == 1
    assert quality_gate.read(crashed, 1)[0] == "unknown"
    assert ours(runs)[0] == "pass"


def test_known_races_are_left_to_the_policy(runs: RunsBuilder) -> None:
    """Not a trap: to accept a race by name and date is the policy's, not Allure's."""
    runs.session(1, airflow="3.0.6").test("test_held[a]", "invalid", known=RACE)
    assert ours(runs)[0] == "pass"
