"""A policy that is not understood to the letter is refused, in a line that says where."""

from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from reports.gate.policy import read_policy
from tests.reports.gate.builder import SOON, TODAY
from tests.reports.gate.policies import KILL, PLAIN, acceptance, policy

REPOSITORY = Path(__file__).resolve().parents[3]
SHIPPED = REPOSITORY / "reports" / "policy.yaml"
FAR = TODAY + timedelta(days=367)
GOOD = "executed-once"


def accepting(*acceptances: str) -> str:
    return policy(*acceptances, limits=())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{PLAIN}  tolerence: 3\n", "performance: unknown key 'tolerence'"),
        ("saftey: {}\n", "unknown key 'saftey'"),
        ("sha256: abc\n", "unknown key 'sha256'"),
        ("performance: {confidence: 2}\n", "performance.confidence: Expected 'float' < 1.0"),
        ("performance: {tolerance: {lag_p50: 1}}\n", "performance.tolerance.lag_p50: Expected"),
        ("performance: {undecided: fail}\n", "performance.undecided: Invalid enum value 'fail'"),
        ("completeness: {labs: [moon]}\n", "completeness.labs[0]: Invalid enum value 'moon'"),
        ("completeness: {scenarios: [57618]}\n", "got 'int' (put it in quotes)"),
        ("completeness: {task_instances: 0}\n", "completeness.task_instances: Expected 'int' >= 1"),
        ("completeness: {versions: [a, a]}\n", "completeness.versions: 'a' is named twice"),
        ("safety: {}\nsafety: {}\n", "the key 'safety' is given twice, again in line 2"),
        ("safety: [\n", "is not a policy: while parsing"),
        ("- safety\n", "Expected 'object', got 'array'"),
        (accepting(acceptance(KILL, until="~")), "safety.accepted[0].until: Expected 'date'"),
        (
            accepting(acceptance(KILL, until="2027-13-01")),
            "is not a policy: month must be in 1..12",
        ),
        (
            accepting(acceptance(KILL, until="soon")),
            "accepted[0].until: not a date, such as",
        ),
        (
            accepting(acceptance(KILL).replace(f"      until: {SOON}\n", "")),
            "safety.accepted[0]: missing key 'until'",
        ),
        (
            accepting(acceptance(KILL, until=FAR)),
            f"safety.accepted[0].until: {FAR} is more than a year away",
        ),
        (
            accepting(acceptance(KILL, airflow="3.3.2")),
            "safety.accepted[0].airflow: '3.3.2' is not a version specifier; write '==3.3.2'",
        ),
        (accepting(acceptance(KILL, airflow="newest")), "safety.accepted[0].airflow: 'newest' is"),
        (
            accepting(acceptance(KILL, airflow=" ")),
            "safety.accepted[0].airflow: ' ' is not a version",
        ),
        (
            accepting(acceptance(KILL), acceptance(KILL)),
            "safety.accepted[1]: executed-once in *::test_scheduler_kill* is accepted twice",
        ),
        (accepting(acceptance("invariants: [all]")), "there is no invariant 'all'"),
        (accepting(acceptance("scenario: all")), "'all' is not a name: accept one thing at a time"),
        (accepting(acceptance("scenario: '*'")), "'*' is not a name: accept one thing at a time"),
        (accepting(acceptance("tests: '*'")), "safety.accepted[0]: name a scenario, or invariants"),
        (accepting(acceptance("invariants: []")), "name a scenario, or invariants, and not both"),
        (
            accepting(acceptance(f"scenario: x\n      invariants: [{GOOD}]")),
            "safety.accepted[0]: name a scenario, or invariants, and not both",
        ),
        (
            accepting(acceptance(f"invariants: [{GOOD}]\n      also: [{GOOD}]")),
            "safety.accepted[0].also: goes with a scenario only",
        ),
        (
            "oracle_health: {known_bad: [{scenario: x, airflow: bad}]}\n",
            "oracle_health.known_bad[0].airflow: 'bad' is not a version specifier",
        ),
    ],
)
def test_a_bad_policy_is_refused_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_policy(path, TODAY)
    assert complaint in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_policy_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml cannot be read: No such file"):
        read_policy(tmp_path / "none.yaml", TODAY)


def test_an_acceptance_counts_until_the_end_of_its_last_day(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(accepting(acceptance(KILL)))
    accepted = read_policy(path, TODAY).safety.accepted[0]
    assert not accepted.lapsed(SOON)
    assert accepted.lapsed(SOON + timedelta(days=1))


def test_the_shipped_policy_is_a_good_one() -> None:
    shipped = read_policy(SHIPPED, date(2026, 11, 22))
    assert "critical-section" in {each.name for each in shipped.safety.accepted}
    assert all(each.reason and each.owner for each in shipped.safety.accepted)
    assert len(shipped.sha256) == 64


def test_the_shipped_policy_speaks_of_scenarios_and_tests_that_exist() -> None:
    shipped = read_policy(SHIPPED, date(2026, 11, 22))
    files = (REPOSITORY / "suites" / "scenarios").glob("*.yaml")
    scenarios = {data["scenario"]: data for data in (yaml.safe_load(f.read_text()) for f in files)}
    accepted = {each.scenario for each in shipped.safety.accepted if each.scenario}
    known_bad = {bad.scenario: bad.airflow for bad in shipped.oracle_health.known_bad}
    assert {*accepted, *known_bad, *shipped.completeness.scenarios} <= set(scenarios)
    assert all(scenarios[name]["has"] == airflow for name, airflow in known_bad.items())
    suites = "".join(path.read_text() for path in (REPOSITORY / "suites").glob("test_*.py"))
    globs = {
        *(each.tests for each in shipped.safety.accepted),
        *shipped.performance.tests,
    } - {"*"}
    assert globs
    assert all(f"def {glob.removeprefix('*::').rstrip('*')}" in suites for glob in globs)
