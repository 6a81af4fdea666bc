"""A mistake in a scenario is told in one line, before anything is booted for it."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from common.errors import UserError
from harness import markers
from lab.api import AirflowAPI, Login
from oracle.events import DagRunEvent, Event
from run.run import AssumptionFailed
from scenarios.perform import Performer
from scenarios.scenario import load, load_all
from tests.lab.answering import Answer, Request, answering
from tests.unit.test_scenario import GOOD, written

UNTIL = "{state: queued, count: 2, by: A, dag: single, again: true}"


def refused(tmp_path: Path, text: str) -> str:
    """Return what is said of a scenario, which is one line, with nothing of Python in it."""
    with pytest.raises(UserError) as caught:
        load(written(tmp_path, text))
    said = str(caught.value)
    assert said.startswith("1.yaml")
    assert "\n" not in said
    assert "`$" not in said
    assert "Error(" not in said
    return said


def with_steps(*steps: str, setup: str = "") -> str:
    """Return a good scenario that does these steps, one after the other, and no others."""
    names = [f"s{n}" for n, _ in enumerate(steps)]
    told = "".join(f"  {name}: {step}\n" for name, step in zip(names, steps, strict=True))
    head = GOOD[: GOOD.index("steps:\n")].replace(
        "{A: scheduler-1}", "{A: scheduler-1, loop: scheduler-1}"
    )
    head = head.replace("shapes: single", f"shapes: '{setup or 'single'}'")
    return f"{head}steps:\n{told}permutations:\n  only: {{steps: [{', '.join(names)}]}}\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("by: A", "by: C", "line 14: not a valid scenario: step 'wait' names no session: C"),
        (UNTIL, "{}", "write one of the two in `until`"),
        (UNTIL, "{run: running, state: queued, dag: single}", "write one of the two in `until`"),
        (UNTIL, "{task: task, dag: single}", "write one of the two in `until`"),
        (UNTIL, "{run: running, task: task, dag: single}", "task goes with state"),
        (UNTIL, "{run: runing, dag: single}", "runs have no such state: runing (did you mean runn"),
        ("state: queued", "state: queud", "no such state: queud (did you mean queued?)"),
        ("dag: single", "dag: single, of: all", "either of a run (`of`) or of any run of a DAG"),
        ("dag: single", "dag: sngle", "names no DAG: sngle (did you mean single?)"),
        ("dag: single", "dag: single, task: tsk", "names no task: tsk (did you mean task?)"),
        ("count: 2", "count: many", "count must be a whole number from 1 up, not many"),
        ("count: 2", "count: 0", "count must be a whole number from 1 up, not 0"),
        ("count: 2", "count: true", "count must be a whole number from 1 up, not true"),
        ("again: true", "again: 5", "again must be true or false, not 5"),
    ],
)
def test_what_an_until_waits_for_must_be_able_to_happen(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    assert said in refused(tmp_path, GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{clear: tsk}", "the shapes have no such task: tsk (did you mean task?)"),
        ("{mark: tsk, state: success}", "the shapes have no such task: tsk"),
        ("{trigger: sngle}", "the shapes make no such DAG: sngle (did you mean single?)"),
        ("{pause-dag: x}", "the shapes make no such DAG: x (there are single)"),
        ("{update: a}", "the shapes have no such asset: a (there are none)"),
        ("{hold: worker, request: sate}", "workers send no such request: sate (did you mean state"),
        ("{hold: worker, request: state, state: sucess}", "no such state: sucess (did you mean"),
        ("{hold: A, statment: x}", "does not know statment (did you mean statement?)"),
        ("{hold: A, stat: x}", "does not know stat (did you mean statement?)"),
        ("{resum: A}", "resum is none (did you mean resume?)"),
        ("{pause: }", "step 'stop': pause has no value; it must be text"),
        ("{pause: [A]}", "pause must be text, not [A]"),
        ("{hold: A, with: x}", "with must be a mapping, not x"),
        ("{hold: A, statement: dag-by-id, with: {dag: 5}}", "dag must be text, not 5"),
        ("{wait: -1}", "wait must be seconds (a number from 0 up), not -1"),
        ("{wait: .inf}", "wait must be seconds (a number from 0 up), not .inf"),
        ("{settle: {}}", "settles without an end; write {at_most: SECONDS}"),
        ("{settle: {at_most: x}}", "at_most must be seconds (a number from 0 up), not x"),
        ("{settle: {atmost: 5}}", "does not know atmost (did you mean at_most?)"),
        ("pause A", "must be a deed, as {pause: A}, not pause A"),
        ("{}", "needs exactly one verb: pause, freeze"),
    ],
)
def test_a_step_is_of_what_the_scenario_has(tmp_path: Path, step: str, said: str) -> None:
    assert refused(tmp_path, GOOD.replace("{pause: A}", step)).startswith("1.yaml, line 13: ")
    assert said in refused(tmp_path, GOOD.replace("{pause: A}", step))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("core:\n      executor: x", "line 15: not a valid scenario: the setting core.executor: "
         "the lab itself decides that: the suite is about the KubernetesExecutor; leave it out"),
        ("database:\n      sql_alchemy_conn_cmd: x", "line 15: not a valid scenario: the setting "
         "database.sql_alchemy_conn_cmd: the lab itself decides that: "),
        ("core:\n      dag_run_conf: []", "line 15: not a valid scenario: the setting "
         "core.dag_run_conf must be text or a number"),
        ("core: 5", "line 14: not a valid scenario: the section core of settings must be a map"),
    ],
)  # fmt: skip
def test_what_a_scenario_cannot_set_is_told_by_its_line(
    tmp_path: Path, settings: str, said: str
) -> None:
    setup = f"setup:\n  shapes: single\n  schedulers: 2\n  settings:\n    {settings}\n"
    head, rest = GOOD[: GOOD.index("setup:")], GOOD[GOOD.index("sessions:") :]
    assert said in refused(tmp_path, head + setup + rest)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        *[([f"{{{verb}: A}}"], "no step before it holds A")
          for verb in ("release", "held", "pass", "cancel", "terminate")],
        (["{release: worker}"], "no step before it holds worker"),
        (["{hold: A}", "{release: A}", "{cancel: A}"], "no step before it holds A"),
        (["{hold: A}", "{release: loop}"], "no step before it holds loop"),
        (["{hold: A}", "{hold: A}"], "holds A, which a step before it holds already"),
        (["{resume: A}"], "resumes whom no step before it has paused; pause A first"),
        (["{pause: A}", "{resume: A}", "{resume: loop}"], "resumes whom no step before"),
        (["{kill: A}", "{start: A}", "{start: A}"], "starts whom no step before it has killed"),
        (["{fault: pod-deletion}", "{heal: pod-deletion}", "{heal: pod-deletion}"], "heals what"),
        (["{until: {run: running}}"], "no step before it triggers one"),
        (["{until: {run: running, of: all}}"], "no step before it triggers one"),
        (["{trigger: single, as: b}", "{until: {run: running}}"], "`of:` says which"),
        (["{trigger: single}", "{until: {run: running, of: nope}}"], "has not begun: nope"),
        (["{trigger: single, as: all}"], "`all` are all runs; give it another name"),
        (["{trigger: single}", "{trigger: single}"], "a second run without a name"),
        (["{trigger: single, as: b}", "{trigger: single, as: b}"], "the name b a second time"),
        (["{trigger: wide-2}", "{clear: task}"], "wide-2 has no such task: task (did you mean"),
        (["{trigger: wide-2}", "{mark: task, state: failed}"], "wide-2 has no such task: task"),
        (["{unpause-dag: single}"], "unpauses single, which no step before it has paused"),
        (["{pause-dag: wide-2}", "{unpause-dag: single}"], "unpauses single, which no step"),
        (["{mark-run: failed}"], "is about a run, and no step before it triggers one"),
        (["{trigger: single}", "{mark-run: failed, of: b}"], "has not begun: b"),
        (["{mark: task, state: failed}"], "is about a run, and no step before it triggers one"),
        (["{delete-run: single}"], "is about a run, and no step before it triggers one"),
        (["{trigger: wide-2}", "{delete-run: single}"], "without a name of single; it is of"),
        (["{trigger: single}", "{delete-run: single}", "{clear: task}"], "no step before it trig"),
        (["{trigger: wide-2}", "{until: {task: task, state: queued}}"], "wide-2 has no such task"),
        (["{settle: {at_most: 5}}"], "waits for the end of all runs, and no step before it"),
    ],
)  # fmt: skip
def test_a_step_needs_one_before_it_that_began_what_it_is_of(
    tmp_path: Path, steps: list[str], said: str
) -> None:
    text = with_steps(*steps, setup="single,wide:2")
    told = refused(tmp_path, text)
    assert f"step 's{len(steps) - 1}'" in told
    assert said in told


@pytest.mark.parametrize(
    "steps",
    [
        ["{hold: A}", "{kill: A}", "{release: A}", "{start: A}"],
        ["{freeze: A}", "{resume: loop}"],
        ["{kill: loop}", "{start: A}"],
        ["{hold: A}", "{hold: loop}", "{held: loop}", "{release: loop}", "{pass: A}"],
        ["{hold: A}", "{release: A}", "{hold: A}", "{held: A}"],
        ["{trigger: single, as: b}", "{until: {run: running, of: b}}", "{clear: task, of: b}"],
        ["{until: {dag: single, run: running}}"],
        ["{pause-dag: single}", "{unpause-dag: single}"],
    ],
)
def test_an_order_that_can_be_is_taken(tmp_path: Path, steps: list[str]) -> None:
    assert len(load(written(tmp_path, with_steps(*steps))).permutations["only"]) == len(steps)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (GOOD, "", "1.yaml: not a valid scenario: a scenario is empty"),
        (GOOD, "[1, 2]", "a scenario must be a mapping (`key: value`), not [1, 2]"),
        (GOOD, "[" * 1000, "it is nested too deeply"),
        (GOOD, "a: [\nb: }", "1.yaml, line 2: not a valid scenario: it cannot be read as YAML: "),
        (GOOD, "? [a]\n: b", "line 1: not a valid scenario: it cannot be read as YAML: a key must"),
        (GOOD, "a: 2024-99-99", "it cannot be read as YAML: month"),
        ("title: t", "title: t\ntitle: u", "line 4: not a valid scenario: it cannot be read as"),
        ("title: t", "titel: t", "line 3: not a valid scenario: a scenario does not know titel (d"),
        ("title: t\n", "", "a scenario lacks title"),
        ("title: t", "title: [t]", "line 3: not a valid scenario: title must be text, not [t]"),
        ("title: t", "title:", "line 3: not a valid scenario: title is empty; it must be text"),
        ('">=3.0,<3.2"', "''", "has is empty; it must be a text, the releases"),
        ("severity: low", "severity: [low]", "there is no such severity: [low]"),
        ("schedulers: 2", "schedulers: 2, sleep: .nan", "sleep must be 0 or more, not .nan"),
        ("schedulers: 2", "schedulers: 2, sleep: .inf", "sleep must be 0 or more, not .inf"),
        ("[stop, wait]", "[stop, [wait]]", "names an unknown step: [wait] (did you mean wait?)"),
        ('scenario: "1"', "scenario:", "the scenario null stands in 1.yaml"),
        ("schedulers: 2, ", "", "setup lacks schedulers"),
        ("schedulers: 2", "schedulers: 2, trigerers: 1", "setup does not know trigerers (did you"),
        ("schedulers: 2", "schedulers: two", "schedulers must be a whole number, not two"),
        ("schedulers: 2", "schedulers: 0", "schedulers must be 1 or more, not 0"),
        ("shapes: single", "shapes: sngle", "No shape is called 'sngle'"),
        ("[unique-try]", "[uniqe-try]", "line 6: not a valid scenario: breaks names no"),
        ("[unique-try]", "[uniqe-try]", "uniqe-try (did you mean unique-try?)"),
        ("[unique-try]", "[]", "breaks names no invariant; name one that can show the race"),
        ("[unique-try]", "[legal-transition]", "line 6: not a valid scenario: breaks names legal"),
        ("[unique-try]", "[unique-try]\ntransitions: [SUCCESS -> QUEUED]", "of legal-transition"),
        *(
            ("[unique-try]", f"[legal-transition]\ntransitions: {written}", f"line 7: {said}")
            for written, said in (
                ("[SUCCESS]", "not a valid scenario: 'SUCCESS' is no transition; write it as"),
                ("[A -> B -> C]", "not a valid scenario: 'A -> B -> C' is no transition"),
                ("[SUCESS -> QUEUED]", "not a valid scenario: the transition 'SUCESS -> QUEUED'"),
                ("SUCCESS", "not a valid scenario: transitions must be a list of transitions"),
            )
        ),
        ("[unique-try]", "unique-try", "breaks must be a list of invariants, not unique-try"),
        ("severity: low", "severity: lo", "there is no such severity: lo (did you mean low?)"),
        ('">=3.0,<3.2"', "5", "has must be a text, the releases, as in '>=3.0.0,<3.2.0', no"),
        ('">=3.0,<3.2"', "['>=3.0.0']", "has must be a text, the releases, as in '>=3.0.0,<3.2.0"),
        ('">=3.0,<3.2"', "{a: b}", "has must be a text, the releases, as in '>=3.0.0,<3.2.0', n"),
        ("sessions: {A: scheduler-1}", "sessions: [A]", "sessions must be a mapping"),
        ("sessions: {A: scheduler-1}", "sessions:", "sessions is empty"),
        ("{A: scheduler-1}", "{A: shceduler-1}", "no process of the setup: shceduler-1 (did you"),
        ("{A: scheduler-1}", "{A: scheduler-3}", "session A is no process of the setup"),
        ("setup: {", "setup: 5 #{", "setup must be a mapping (`key: value`), not 5"),
        ("{steps: [stop, wait]}", "[stop, wait]", "permutation 'only' must be a mapping"),
        ("{steps: [stop, wait]}", "{stps: [stop]}", "does not know stps (did you mean steps?)"),
        ("[stop, wait]", "5", "permutation 'only': steps must be a list of steps, not 5"),
        ('scenario: "1"', 'scenario: "2"', "line 2: not a valid scenario: the scenario 2"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_scenario_says_what_it_lacks(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    assert said in refused(tmp_path, GOOD.replace(old, new))


def test_a_file_that_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(UserError, match=r"1\.yaml, line 2: .* it is not UTF-8 text"):
        load(tmp_path / "1.yaml")


def test_two_files_cannot_tell_of_the_same_scenario(tmp_path: Path) -> None:
    for name in ("1.yaml", "2.yaml"):
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(UserError, match=r"2\.yaml, line 2: .* the scenario 1 stands in 2\.yaml"):
        load_all(tmp_path)


def test_a_session_ends_before_it_collects_where_a_scenario_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scenarios").mkdir()
    written(tmp_path / "scenarios", "")
    monkeypatch.setattr(markers, "SUITES", tmp_path)
    monkeypatch.setattr(markers, "scenarios", markers.scenarios.__wrapped__)
    with pytest.raises(pytest.UsageError, match=r"^1\.yaml: not a valid scenario: .* is empty"):
        markers.check_scenarios()


def test_a_settle_has_a_time_after_a_violation_unless_it_says(tmp_path: Path) -> None:
    text = with_steps("{trigger: single}", "{settle: {at_most: 60}}")
    _, settle = load(written(tmp_path, text)).permutations["only"]
    assert settle.target == {"at_most": 60, "after_violation": 20.0}


def performed(tmp_path: Path, step: str, **powers: Callable[..., Any]) -> str:
    """Return why a step, of a run that is not a real one, was not seen to happen."""
    lab = SimpleNamespace(pace=1.0, process=lambda role: role)
    quiet = dict.fromkeys(("note", "look_for_faults", "allow_rules"), lambda *_: None)
    run: Any = SimpleNamespace(lab=lab, **{**quiet, **powers})
    scenario = load(written(tmp_path, with_steps(step)))
    with pytest.raises((AssumptionFailed, UserError)) as caught:
        Performer(scenario, run).perform("only")
    return str(caught.value)


def test_what_did_not_happen_is_told_as_it_is_written(tmp_path: Path) -> None:
    def wait(_fits: object, _timeout: float, what: str) -> None:
        raise AssumptionFailed(what)

    step = f"{{until: {UNTIL}}}"
    assert performed(tmp_path, step, wait=wait) == f"step s0 (until: {UNTIL})"


def test_a_table_that_is_not_there_is_told_with_its_step(tmp_path: Path) -> None:
    def allow_rules(_points: object) -> None:
        raise UserError("Airflow has no table nowhere.", "Name another.")

    said = performed(tmp_path, "{hold: A, commit: nowhere}", allow_rules=allow_rules)
    assert said == "1.yaml, line 13: step s0: Airflow has no table nowhere. Name another."


@pytest.mark.parametrize(("entries", "refusal"), [(0, "no task tsk"), (1, None)])
def test_a_clear_that_cleared_nothing_did_not_happen(entries: int, refusal: str | None) -> None:
    with answering(lambda _: Answer(200, {"total_entries": entries})) as (url, seen):
        api = AirflowAPI(url, login=Login(token="t"))
        if refusal is None:
            api.clear("single", "run", "tsk")
        else:
            with pytest.raises(UserError, match=refusal):
                api.clear("single", "run", "tsk")
    assert [each.path for each in seen] == ["/api/v2/dags/single/clearTaskInstances"]


@pytest.mark.parametrize(
    ("states", "refusal"),
    [
        (["running", "success"], ""),
        (["running"], "not in 0 s"),
        (["running", "success", "queued", "running"], "not in 0 s"),
    ],
)
def test_a_settle_waits_for_the_runs_that_have_begun_and_no_other(
    tmp_path: Path, states: list[str], refusal: str
) -> None:
    triggered: list[str] = []
    assumed: list[str] = []

    def wait(fits: Callable[[Event], bool], _timeout: float) -> None:
        for was, state in pairwise([None, *states]):
            assert state is not None
            for run_id in (triggered[0], "somebody-else-s"):
                fits(DagRunEvent(0.0, "update", "single", run_id, was, state, "x"))
        raise TimeoutError

    api = SimpleNamespace(trigger=lambda _dag, run_id, _conf: triggered.append(run_id))
    lab = SimpleNamespace(pace=1.0, api=api, logs=dict)
    quiet = dict.fromkeys(("note", "look_for_faults", "allow_rules"), lambda *_: None)
    recorder = SimpleNamespace(wait=wait)
    run: Any = SimpleNamespace(
        lab=lab, secrets=(), recorder=recorder, violated=threading.Event(),
        assume=lambda *what: assumed.append(what[2]), **quiet,
    )  # fmt: skip
    text = with_steps("{trigger: single, as: second}", "{settle: {at_most: 0.2}}")
    Performer(load(written(tmp_path, text)), run).perform("only")
    assert (len(triggered), assumed) == (1, [refusal] if refusal else [])


def asked(tmp_path: Path, api: SimpleNamespace, *steps: str, setup: str, **of_lab: Any) -> None:
    """Perform steps that ask Airflow's API, and nothing else of a lab."""
    quiet = dict.fromkeys(("note", "look_for_faults", "allow_rules"), lambda *_: None)
    lab = SimpleNamespace(pace=1.0, api=api, logs=dict, **of_lab)
    run: Any = SimpleNamespace(lab=lab, secrets=(), **quiet)
    Performer(load(written(tmp_path, with_steps(*steps, setup=setup))), run).perform("only")


def test_what_gets_no_answer_is_told_with_its_step(tmp_path: Path) -> None:
    def unanswered(*_: object, **__: object) -> None:
        raise requests.ReadTimeout("no answer in 20 s\nand more")

    api = SimpleNamespace(pause_dag=unanswered)
    lab = SimpleNamespace(pausing=lambda _: unanswered)
    with pytest.raises(AssumptionFailed, match=r"^step s0: no answer in 20 s$"):
        asked(tmp_path, api, "{pause-dag: single}", setup="single", **vars(lab))


def test_what_is_done_aside_waits_for_nobody(tmp_path: Path) -> None:
    second = threading.Event()

    def update(name: str, _partition: str | None) -> None:
        if name == "d":
            assert second.wait(10)
        else:
            second.set()

    steps = "{update: d, aside: true}", "{update: e}"
    asked(tmp_path, SimpleNamespace(update_asset=update), *steps, setup="partitions")
    assert second.is_set()


def test_what_failed_aside_is_told_at_the_end(tmp_path: Path) -> None:
    done: list[str] = []

    def backfill(dag_id: str, since: str, until: str) -> None:
        if done:
            raise UserError("Another backfill is running.")
        done.append(f"{dag_id} {since} {until}")

    api = SimpleNamespace(backfill=backfill, drain_dag=done.append, cancel_backfills=lambda _: None)
    steps = "{backfill: daily, aside: true}", "{backfill: daily, aside: true}", "{drain-dag: daily}"
    with pytest.raises(AssumptionFailed, match="step s1: Another backfill is running"):
        asked(tmp_path, api, *steps, setup="daily", pausing=lambda _: lambda: None)
    assert sorted(done) == ["daily", "daily 2025-01-01 2025-01-03"]


def test_a_partition_is_of_one_performance_alone(tmp_path: Path) -> None:
    keys: list[str | None] = []
    api = SimpleNamespace(update_asset=lambda _, key: keys.append(key))
    steps = "{update: d, partition: k}", "{update: e, partition: k}", "{update: d}"
    for _ in range(2):
        asked(tmp_path, api, *steps, setup="partitions")
    first, second, none, other, *_ = keys
    assert (first, none) == (second, None)
    assert first is not None
    assert first.startswith("k-")
    assert first != other


def test_the_api_is_asked_for_partitions_drains_and_backfills() -> None:
    listed = {"assets": [{"id": 7, "name": "a"}]}
    with answering(lambda _: Answer(200, listed)) as (url, seen):
        api = AirflowAPI(url, login=Login(token="t"))
        api.update_asset("a")
        api.update_asset("a", "k")
        api.drain_dag("single")
        api.backfill("daily", "2025-01-01", "2025-01-03")
    days = {"from_date": "2025-01-01T00:00:00Z", "to_date": "2025-01-03T00:00:00Z"}
    assert [(each.method, each.body) for each in seen if each.body] == [
        ("POST", {"asset_id": 7, "extra": {}}),
        ("POST", {"asset_id": 7, "extra": {}, "partition_key": "k"}),
        ("PATCH", {"scheduling_state": "draining"}),
        ("POST", {"dag_id": "daily", **days}),
    ]


def test_active_backfills_are_cancelled_also_where_one_completes_meanwhile() -> None:
    found = [{"id": 1, "completed_at": None}, {"id": 2, "completed_at": "2026-11-29T00:00:00Z"}]
    listed = {"backfills": [*found, {"id": 3, "completed_at": None}]}

    def answer(request: Request) -> Answer:
        return Answer(200, listed) if request.method == "GET" else Answer(409, {"detail": "done"})

    with answering(answer) as (url, seen):
        AirflowAPI(url, login=Login(token="t")).cancel_backfills("daily")
    cancelled = [each.path for each in seen if each.method == "PUT"]
    assert cancelled == ["/api/v2/backfills/1/cancel", "/api/v2/backfills/3/cancel"]
