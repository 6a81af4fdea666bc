"""A scenario's YAML is checked before anything is booted for it."""

import re
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.pod_answer_lost import PodAnswerLost
from common.errors import UserError
from common.paths import PROJECT
from harness.markers import scenarios, why_not
from scenarios.scenario import load

GOOD = """
scenario: "1"
title: t
issue: https://example.invalid/1
has: ">=3.0,<3.2"
breaks: [unique-try]
because: reasons
severity: low
meanwhile: wait
setup: {shapes: single, schedulers: 2, settings: {scheduler: {orphaned_tasks_check_interval: 5}}}
sessions: {A: scheduler-1}
steps:
  stop: {pause: A}
  wait: {until: {state: queued, count: 2, by: A, dag: single, again: true}}
permutations:
  only: {steps: [stop, wait]}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "1.yaml"
    path.write_text(text)
    return path


def test_a_good_scenario_is_read(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD))
    assert [step.name for step in scenario.permutations["only"]] == ["stop", "wait"]
    assert scenario.sessions == {"A": "scheduler-1"}


def test_the_words_of_before_still_say_the_same(tmp_path: Path) -> None:
    steps = "{close: A, statement: critical-section}", "{stands: A}", "{passes: A}", "{open: A}"
    old = (
        GOOD.replace("{pause: A}", steps[0])
        .replace(
            "  wait:", "".join(f"  s{n}: {step}\n" for n, step in enumerate(steps)) + "  wait:"
        )
        .replace("[stop,", "[stop, s1, s2, s3, s0,")
    )
    verbs = [step.verb for step in load(written(tmp_path, old)).permutations["only"]]
    assert verbs == ["hold", "held", "pass", "release", "hold", "until"]


def test_a_scenario_takes_the_powers_that_its_steps_use(tmp_path: Path) -> None:
    assert load(written(tmp_path, GOOD)).powers == ("pause",)
    assert scenarios()["57618"].powers == ("hold", "pause")


OF_THE_API = """steps:
  lose: {fault: pod-answer-lost, on: A, with: {request: create, count: 1}}
  lost: {heal: pod-answer-lost, on: A}
  hold: {hold: A, request: create, when: after, pods: "dag-*", labels: try_number=1}
"""


def api_scenario(text: str = OF_THE_API) -> str:
    """Return a scenario of faults and of holds at requests."""
    begun, ended = GOOD.index("steps:"), GOOD.index("permutations:")
    return GOOD[:begun] + text + GOOD[ended:].replace("[stop, wait]", "[lose, hold, lost]")


def test_a_step_begins_a_fault_by_its_name_and_a_hold_may_be_at_a_request(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, api_scenario()))
    lose, hold, lost = scenario.permutations["only"]
    assert lose.target == PodAnswerLost("scheduler-1", request="create", count=1)
    assert (lost.verb, lost.target, lost.options) == ("heal", "pod-answer-lost", {"on": "A"})
    assert (hold.options["when"], hold.powers) == ("after", ("kube-api",))
    assert scenario.powers == ("kube-api",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{fault: pod-answer-lost",
            "{fault: pod-lost",
            "line 13: not a valid scenario: step 'lose': No fault",
        ),
        ("count: 1", "cuont: 1", "does not take cuont"),
        ("count: 1", "count: some", "Expected `int | null`, got `str` - at `$.count`"),
        ("lost, on: A, with", "lost, on: C, with", "names no session: C"),
        ("lost, on: A, with", "lost, with", "takes process, which is not given"),
        ("heal: pod-answer-lost", "heal: pod-api-drop", "heals what no step before it has begun"),
        ("lost, on: A}", "lost}", "heals what no step before it has begun"),
        ("request: create, when", "request: post, when", "There is no request 'post'"),
        ("when: after", "when: during", "It is before or after, not 'during'"),
        ("when: after", "statement: critical-section", "pods, request is of a request alone"),
        ("request: create, when", "when", "labels, pods, when is of a request alone"),
    ],
)
def test_a_bad_fault_or_request_is_told_in_one_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in OF_THE_API
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, api_scenario(OF_THE_API.replace(old, new))))
    assert said in str(caught.value)


def test_a_scenario_s_settings_reach_airflow_by_its_environment(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD))
    assert scenario.settings == {"AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5"}


AT_A_REQUEST = """
  hold-w: {hold: worker, request: state, of: task, state: success, when: after}
  w-held: {held: worker}
  free-w: {release: worker}
  kill: {kill: A}
  start: {start: A}
  clear: {clear: task, of: second}
  second: {trigger: single, as: second}
  first: {trigger: single}
  mark: {mark: task, state: failed}
  mark-all: {mark-run: failed, of: second}
  one-slot: {resize: default_pool, slots: 1}
  delete: {delete-run: single, of: second}
  stop-dag: {pause-dag: single}
"""


def test_workers_are_held_at_requests_and_sessions_killed(tmp_path: Path) -> None:
    more = GOOD.replace("  wait:", f"{AT_A_REQUEST[1:]}  wait:").replace(
        "[stop,",
        "[stop, hold-w, w-held, free-w, kill, start, second, first, clear, "
        "stop-dag, mark-all, one-slot, delete, mark,",
    )
    scenario = load(
        written(
            tmp_path, more.replace("schedulers: 2", "schedulers: 2, triggerers: 2, reuse: false")
        )
    )
    assert (scenario.triggerers, scenario.reuse) == (2, False)
    assert scenario.powers == ("kill", "pause", "pools", "worker-requests")
    hold, *_, mark = scenario.permutations["only"][1:-1]
    assert hold.options == {"request": "state", "of": "task", "state": "success", "when": "after"}
    assert (mark.target, mark.options) == ("task", {"state": "failed"})


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{hold: worker}", "names no request"),
        ("{hold: worker, request: state, when: then}", "is held before or after: then"),
        ("{hold: worker, request: state, statement: critical-section}", "know statement"),
        ("{pause: worker}", "names no session: worker"),
        ("{mark: task}", "marks as no state"),
        ("{mark: task, state: running}", "marks as no state: running"),
        ("{mark-run: skipped}", "marks a run as no state: skipped"),
        ("{resize: default_pool}", "does not say to how many slots"),
        ("{resize: default_pool, slots: 0}", "slots must be a whole number from 1 up"),
        ("{clear: task, state: success}", "does not know state"),
    ],
)
def test_a_step_that_cannot_be_is_told_with_its_line(tmp_path: Path, step: str, said: str) -> None:
    with pytest.raises(UserError, match=r"1\.yaml, line") as caught:
        load(written(tmp_path, GOOD.replace("{pause: A}", step)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "pause: A",
            "pause: C",
            "line 13: not a valid scenario: step 'stop' names no session: C (there are A)",
        ),
        ("pause: A", "stun: A", "step 'stop' needs exactly one verb; stun is none"),
        ("pause: A", "resum: A", "resum is none (did you mean resume?)"),
        ("pause: A", "pause: A, resume: A", "needs exactly one verb, and has pause, resume"),
        ("count: 2", "cuont: 2", "does not know cuont"),
        ("pause: A", "hold: A, statement: critical", "(did you mean critical-section?)"),
        ("pause: A", "hold: A, statement: dag-by-id", "takes dag (`with:`)"),
        ("pause: A", "hold: A, with: {dag: x}", "takes no values (`with:`)"),
        ("pause: A", "hold: A, row: {state: x}", "has a row of no commit"),
        ("pause: A", "hold: A, commit: dag_run, statement: dag-by-id", "or of a commit"),
        ("pause: A", "wait: a while", "a while"),
        ("_interval: 5", "_interval: [5]", "scheduler.orphaned_tasks_check_interval must be text"),
        ("settings: {scheduler", "settings: {option: 5, scheduler", "not a valid scenario"),
        (
            "[stop, wait]",
            "[stop, wiat]",
            "line 16: not a valid scenario: permutation 'only' names an unknown step: wiat (did",
        ),
        (
            "[stop, wait]",
            "[stop]",
            "line 14: not a valid scenario: no permutation uses the step wait",
        ),
        ('">=3.0,<3.2"', '"3.0 or so"', "3.0 or so"),
        ("breaks: [unique-try]", "", "not a valid scenario"),
        ("sessions: {A: scheduler-1}", "sessions: [", "cannot be read"),
    ],
)
def test_a_bad_scenario_is_told_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value)
    assert "1.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("version", "affected"),
    [("3.0.0", True), ("3.1.8", True), ("3.2.0", False), ("3.3.2", False)],
)
def test_57618_knows_which_releases_have_it(version: str, affected: bool) -> None:
    assert scenarios()["57618"].affects(version) is affected


def test_a_scenario_is_skipped_where_airflow_has_not_what_it_is_about(tmp_path: Path) -> None:
    everywhere = load(written(tmp_path, GOOD))
    assert everywhere.can_be_in("3.0.0")
    newer = load(written(tmp_path, GOOD.replace("breaks:", 'needs: ">=3.1.0.dev0"\nbreaks:')))
    assert [newer.can_be_in(each) for each in ("3.0.6", "3.1.0b1", "3.3.2")] == [False, True, True]


def test_a_permutation_is_skipped_on_releases_that_it_is_not_for(tmp_path: Path) -> None:
    twin = "permutations:\n  twin: {needs: '>=3.4.0b1', steps: [stop, wait]}"
    scenario = load(written(tmp_path, GOOD.replace("permutations:", twin)))
    assert scenario.why_not("twin", "3.4.0b2") is None
    assert scenario.why_not("only", "3.3.2") is None
    assert "its permutation twin is for Airflow >=3.4.0b1" in str(scenario.why_not("twin", "3.3.2"))
    with pytest.raises(UserError, match="needs must be a text, the releases"):
        load(written(tmp_path, GOOD.replace("permutations:", twin.replace(">=3.4.0b1", "new"))))


HELPS = "permutations:\n  helps: {meanwhile: true, steps: [stop, wait]"


def test_a_permutation_tries_what_helps_on_a_release_that_has_the_race(tmp_path: Path) -> None:
    helps = f"{HELPS}, settings: {{core: {{parallelism: 4}}}}}}"
    scenario = load(written(tmp_path, GOOD.replace("permutations:", helps)))
    assert scenario.tried == {"helps": {"AIRFLOW__CORE__PARALLELISM": "4"}}
    assert scenario.settings_of("helps") == {**scenario.settings, **scenario.tried["helps"]}
    assert scenario.settings_of("only") == scenario.settings
    assert [*scenario.forcing] == ["only"]
    assert ".yaml, line " in scenario.place_of("AIRFLOW__CORE__PARALLELISM")
    has = "3.0.6" if scenario.affects("3.0.6") else "3.3.2"
    assert scenario.why_not("helps", has) is None
    assert "helps those who have the race" in str(scenario.why_not("helps", "2.11.0"))


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        ("{meanwhile: false, steps: [stop, wait]}", "meanwhile is true, or left out"),
        ("{settings: {core: {parallelism: 4}}, steps: [stop, wait]}", "settings are of the setup"),
        ("{meanwhile: true, steps: [stop, wait]}", "one must force the race"),
    ],
)
def test_what_helps_is_said_as_it_must_be(tmp_path: Path, form: str, complaint: str) -> None:
    begun = GOOD[: GOOD.index("permutations:")]
    with pytest.raises(UserError, match=complaint):
        load(written(tmp_path, f"{begun}permutations:\n  helps: {form}\n"))


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("drain-vs-trigger", "3.3.2", "drain-vs-trigger is about what Airflow >=3.4.0.dev0 has"),
        ("drain-vs-trigger", "3.4.0b2", None),
        ("57618", "3.0.6", None),
        ("", "3.0.6", None),
    ],
)
def test_a_test_says_why_its_scenario_is_skipped(
    name: str, version: str, reason: str | None
) -> None:
    marker = pytest.mark.scenario(name).mark if name else None
    permutation = next(iter(scenarios()[name].permutations)) if name else ""
    item: Any = SimpleNamespace(
        get_closest_marker=lambda _: marker,
        nodeid="t",
        callspec=SimpleNamespace(params={"permutation": permutation}),
    )
    said = why_not(item, version)
    assert said == (reason and f"scenario {reason}")


def test_the_example_of_how_to_write_one_is_one(tmp_path: Path) -> None:
    told = (PROJECT / "CONTRIBUTING.md").read_text()
    example = re.search(r"^    scenario: NAME\n(?:    .*\n|\n)+", told, re.MULTILINE)
    assert example
    path = tmp_path / "NAME.yaml"
    path.write_text(dedent(example[0]))
    assert load(path).name == "NAME"
