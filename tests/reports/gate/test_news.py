"""What is new is told at a glance, whatever races are known to be open."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from reports.gate.checks import decide
from reports.gate.decision import Decision
from reports.gate.glance import Glance
from reports.gate.outputs import markdown, write
from reports.gate.policy import read_policy
from reports.records import ExploredFind
from reports.store import read_runs
from tests.reports.gate.builder import (
    EXPLORED,
    FAN_OUT,
    FOUND,
    KILL,
    PAUSE,
    START,
    TEETH,
    TODAY,
    WOKEN,
    Case,
    RunsBuilder,
    night,
)
from tests.reports.gate.policies import KILL_ACCEPTED, KILL_LAPSED, PLAIN


def decided(folder: Path, *cases: Case, policy: str = PLAIN) -> Decision:
    runs = RunsBuilder(folder / "runs")
    runs.teeth()
    runs.session(cases)
    (folder / "policy.yaml").write_text(policy)
    return decide(read_runs([folder / "runs"]), read_policy(folder / "policy.yaml", TODAY), TODAY)


def glance(folder: Path, *cases: Case, policy: str = PLAIN) -> Glance:
    (found,) = decided(folder, *cases, policy=policy).glances
    return found


def test_a_night_of_known_races_has_nothing_new(tmp_path: Path) -> None:
    found = glance(tmp_path, *night())
    assert (found.new, found.fixed) == ((), ("57618",))
    assert found.known == ("critical-section", "woken-scheduler")
    assert found.cannot_tell == found.stayed_away == ()


def test_what_breaks_beside_a_known_race_is_new(tmp_path: Path) -> None:
    woken = WOKEN.broken({"no-live-orphan": 1, "executed-once": 1})
    found = glance(tmp_path, *night(woken=woken))
    (new,) = found.new
    assert new == "executed-once in test_woken[woken-scheduler-queued-on-waking]"
    assert "woken-scheduler" in found.known


def test_a_known_race_of_a_release_that_is_said_not_to_have_it_is_new(tmp_path: Path) -> None:
    back = [replace(case, affected=False) for case in TEETH]
    found = glance(tmp_path, *night(start=back[0], fan_out=back[1]))
    assert len(found.new) == 2
    assert found.fixed == ()
    assert "57618" not in found.known


@pytest.mark.parametrize(("policy", "new"), [(PLAIN, 1), (KILL_ACCEPTED, 0), (KILL_LAPSED, 0)])
def test_what_the_policy_names_is_known_also_when_it_has_lapsed(
    tmp_path: Path, policy: str, new: int
) -> None:
    found = glance(tmp_path, *night(kill=KILL.broken({"executed-once": 1})), policy=policy)
    assert len(found.new) == new
    assert ("executed-once in *::test_scheduler_kill*" in found.known) is not bool(new)


def test_a_race_that_stayed_away_from_a_release_that_has_it_is_not_called_fixed(
    tmp_path: Path,
) -> None:
    away = replace(WOKEN, verdict="valid", violations={})
    found = glance(tmp_path, *night(woken=away))
    assert (found.stayed_away, found.fixed) == (("woken-scheduler",), ("57618",))


def test_a_race_of_which_a_part_cannot_tell_is_not_called_fixed(tmp_path: Path) -> None:
    found = glance(tmp_path, *night(fan_out=FAN_OUT.unknown()))
    assert found.fixed == ()
    assert found.cannot_tell == ("test_held[57618-fan-out-embedded-3.3.2]",)


def test_an_exploration_says_what_it_found_by_its_name(tmp_path: Path) -> None:
    known = ExploredFind(3, ["queued-in-time"], "critical-section")
    case = EXPLORED.found(known, ExploredFind(7, ["unique-try"]), races=[FOUND])
    found = glance(tmp_path, START, case)
    assert found.new == ("unique-try in test_explored_by_default",)
    assert found.known == ("critical-section",)


def test_what_is_new_comes_first_in_every_text(tmp_path: Path) -> None:
    broken = {"kill": KILL.broken({"executed-once": 1}), "pause": PAUSE.broken({"valid-start": 2})}
    decision = decided(tmp_path, *night(**broken))
    assert [bool(row.new) for row in decision.in_order if row.status == "fail"] == [True, False]
    write(decision, out := io.StringIO())
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[0] == "Airflow 3.3.2 new 1 (executed-once in test_scheduler_kill)"
    assert lines[1] == "known 2 (critical-section, woken-scheduler)"
    assert lines[-1].endswith("; 1 new, 2 known races (exit 1)")
    text = markdown(decision)
    assert text.index("- new: 1 (executed-once") < text.index("- known: 2 (critical-section")
    assert decision.to_json()["glances"][0]["new"]  # type: ignore[index]
