"""What follows from a fault that a test's marker declares, before and after it has a lab."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.base import Fault
from chaos.link_cut import LinkCut
from chaos.node_pause import NodePause
from chaos.pod_network import PodNetwork
from chaos.scheduler_kill import SchedulerKill
from chaos.scheduler_pause import SchedulerPause
from chaos.slow_pods import SlowPods
from chaos.statement_delay import StatementDelay
from common.errors import UserError
from dags.shapes import dags
from harness import markers
from harness.faults import Faults
from harness.labs import Wants
from harness.options import Options
from run.run import Run


def item(*marks: pytest.MarkDecorator) -> pytest.Item:
    """Return the least of a test that has these markers."""

    def named(name: str) -> list[pytest.Mark]:
        return [each.mark for each in marks if each.name == name]

    return cast(
        pytest.Item,
        SimpleNamespace(
            nodeid="suites/test_it.py::test_it",
            iter_markers=named,
            get_closest_marker=lambda name: next(iter(named(name)), None),
        ),
    )


def asked_for(folder: str = "", *flood_dags: str, settings: Mapping[str, str] = {}) -> Options:
    """Return the options of a session that says no more than this."""
    least = SimpleNamespace(
        settings=settings, dags=folder, flood_dags=flood_dags, schedulers=2, cluster=None
    )
    return cast(Options, least)


def declaring(*faults: Any) -> pytest.Item:
    return item(pytest.mark.fault(*faults))


@pytest.mark.parametrize(
    ("fault", "alone"),
    [
        (SchedulerKill("scheduler-2"), False),
        (SlowPods(delay=1), False),
        (NodePause("scheduler-2"), True),
        (PodNetwork("scheduler-2", loss=0.1), True),
    ],
)
def test_who_disturbs_others_has_the_cluster_alone(fault: Fault[Any], alone: bool) -> None:
    assert markers.wants_cluster_alone(declaring(fault)) is alone


def test_a_power_that_a_test_needs_besides_counts_as_well() -> None:
    node = item(pytest.mark.needs("node"))
    assert markers.wants_cluster_alone(node)
    assert markers.missing(node, {"node": "there is none"}.get) == "needs node: there is none"


@pytest.mark.parametrize(
    ("one", "layers", "cold", "triggerers"),
    [
        (declaring(SlowPods(delay=1)), ("slow-pods",), False, 0),
        (item(pytest.mark.needs("delay-pods")), ("slow-pods",), False, 0),
        (declaring(SchedulerKill("scheduler-2")), (), True, 0),
        (declaring(SchedulerPause("triggerer-2"), SchedulerKill("triggerer-1")), (), True, 2),
    ],
)
def test_what_costs_every_pod_something_is_in_the_lab_of_who_needs_it(
    one: pytest.Item, layers: tuple[str, ...], cold: bool, triggerers: int
) -> None:
    wants = markers.lab_wants(one, "3.3.2", asked_for())
    assert wants == Wants(cold=cold, triggerers=triggerers, layers=layers)


A_LOOP = "AIRFLOW__SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE"
BATCH = "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE"


@pytest.mark.parametrize(
    ("one", "kept"),
    [
        (item(pytest.mark.scenario("active-runs")), {A_LOOP: "1", BATCH: "3"}),
        (item(pytest.mark.explore("run-a-loop")), {A_LOOP: "1", BATCH: "3"}),
        (item(pytest.mark.flood("steady")), {A_LOOP: "5", BATCH: "3"}),
        (item(), {A_LOOP: "5", BATCH: "3"}),
    ],
)
def test_what_is_set_reaches_each_lab_but_for_what_a_race_needs(
    one: pytest.Item, kept: dict[str, str]
) -> None:
    given = {A_LOOP: "5", BATCH: "3"}
    env = markers.lab_wants(one, "3.3.2", asked_for(settings=given)).env
    assert {name: env[name] for name in kept} == kept


def test_a_race_that_workers_answers_alone_show_needs_a_lab_that_records_them() -> None:
    no = {"worker-requests": "nothing stands between its workers and its API server"}.get
    one, other = (item(pytest.mark.scenario(name)) for name in ("failed-success", "lost-locks"))
    assert markers.missing(one, no) == (
        "scenario failed-success is not available: "
        "nothing stands between its workers and its API server"
    )
    assert markers.missing(other, no) is None


def shared_shapes(name: str, version: str) -> str:
    scenario = markers.scenarios()[name]
    return markers.shared_shapes(scenario, scenario.settings, version)


def test_scenarios_that_agree_in_settings_share_one_lab_with_the_shapes_of_all() -> None:
    shared = shared_shapes("slow-stop", "3.3.2")
    assert {"single", "calling", "wide:4", "gatherer", "publisher"} <= set(shared.split(","))
    assert shared_shapes("ambiguous-create", "3.3.2") == shared
    assert len(dags(shared)) == len(shared.split(","))
    assert shared_shapes("active-runs", "3.3.2") == "serial"


def test_a_shared_lab_has_no_shapes_that_its_release_cannot_make() -> None:
    old, new = (set(shared_shapes("slow-stop", each).split(",")) for each in ("3.0.6", "3.3.2"))
    assert new - old == {"partitions"}


@pytest.mark.parametrize("version", ["3.0.6", "3.2.2", "3.3.2", "3.4.0b2"])
def test_what_one_scenario_updates_sets_off_no_other_s_dag(version: str) -> None:
    """In a shared lab an asset's event reaches every DAG that waits for it."""
    for one in markers.scenarios().values():
        there = dags(shared_shapes(one.name, version))
        mates = there.keys() - dags(one.shapes)
        waiting = {asset for name in mates for asset in there[name].scheduled_on}
        steps = [step for steps in one.permutations.values() for step in steps]
        updated = {step.target for step in steps if step.verb == "update"}
        for triggered in (
            dags(one.shapes)[step.target] for step in steps if step.verb == "trigger"
        ):
            updated.update(asset for node in triggered.nodes for asset in node.outlets)
        assert not waiting & updated, one.name


def test_tests_that_share_a_lab_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(name: str, mark: pytest.MarkDecorator) -> pytest.Item:
        made: Any = item(mark)
        made.nodeid, made.callspec = name, SimpleNamespace(params={"lab": "3.3.2"})
        return cast(pytest.Item, made)

    monkeypatch.setattr(markers, "leaves_lab_usable", lambda item: item.nodeid != "h")
    spoils, mate = pytest.mark.scenario("retry-unlocked"), pytest.mark.scenario("lost-locks")
    shared, alone = pytest.mark.scenario("slow-stop"), pytest.mark.scenario("active-runs")
    flood, unmarked, wrong = pytest.mark.flood("steady"), item(), pytest.mark.scenario("none")
    marks = {"a": shared, "b": flood, "c": alone, "d": shared, "e": flood, "f": shared, "g": wrong}
    marks |= {"h": spoils, "i": mate}
    items = [*(of(name, mark) for name, mark in marks.items()), unmarked]
    markers.lab_after_lab(items, asked_for())
    assert "".join(each.nodeid for each in items if each is not unmarked) == "adfihcgbe"


def test_a_flood_of_a_users_dags_has_workers_that_do_their_work() -> None:
    flood, options = item(pytest.mark.flood("steady")), asked_for("/dags", "etl")
    ours, theirs = (markers.lab_wants(flood, "3.3.2", each) for each in (asked_for(), options))
    assert (ours.simulated, theirs.simulated) == (True, False)
    assert (ours.triggerers, theirs.triggerers) == (0, 1)
    assert markers.flood_of(flood, options).asked(1).dag_ids == ("etl",)


def test_each_power_of_each_fault_is_asked_for() -> None:
    asked: list[str] = []

    def ask(power: str) -> str | None:
        asked.append(power)
        return "no netem" if power == "netem" else None

    both = declaring(SchedulerKill("scheduler-2"), PodNetwork("scheduler-2", latency=0.1))
    assert markers.missing(both, ask) == "pod-network is not available: no netem"
    assert asked == ["kill", "node", "netem"]


def test_a_scenario_s_steps_are_asked_for() -> None:
    scenario = item(pytest.mark.scenario("57618"))
    assert markers.missing(scenario, {"hold": "a superuser"}.get) == (
        "scenario 57618 is not available: a superuser"
    )


def test_what_is_declared_must_be_a_fault() -> None:
    with pytest.raises(pytest.UsageError, match="'scheduler-kill' is not a fault"):
        markers.declared_faults(declaring("scheduler-kill"))


class Looked:
    """The least of a run: what its lab misses, and what was asked of it."""

    def __init__(self, missing: str | None = None) -> None:
        self.lab = SimpleNamespace(
            missing=lambda _: missing, process=lambda role: f"the pod of {role}"
        )
        self.record = lambda *_: None
        self.seed = 7
        self.faults: dict[Any, bool] = {}
        self.asked: list[str] = []

    def allow_rules(self) -> None:
        self.asked.append("rules")

    def abandon(self) -> None:
        self.asked.append("abandoned")


def faults(run: Looked, *declared: Fault[Any]) -> Faults:
    return Faults(cast(Run, run), declared)


def test_the_declared_fault_meets_its_lab_with_its_own_name_for_the_process() -> None:
    run = Looked(missing="asked twice")
    injection = faults(run, LinkCut("scheduler-2", seconds=10))()
    assert injection.fault == LinkCut("the pod of scheduler-2", seconds=10)
    assert run.faults == {injection: False}
    assert run.asked == []


def test_another_value_makes_another_fault_of_it() -> None:
    injection = faults(Looked(), LinkCut("scheduler-2", seconds=10))(how="drop")
    assert injection.fault == LinkCut("the pod of scheduler-2", "drop", seconds=10)


def test_what_is_held_has_its_machinery_first_and_the_session_s_seed() -> None:
    run = Looked()
    injection = faults(run)(StatementDelay("scheduler-2", delay=1, jitter=0.5))
    assert run.asked == ["rules"]
    assert injection.fault.detail == "1 s ± 0.5 s (seed 7) inside each matching statement"


def test_what_is_not_declared_is_asked_of_the_lab_and_skipped() -> None:
    run = Looked(missing="no signal stops it")
    with pytest.raises(pytest.skip.Exception, match="is not available: no signal stops it"):
        faults(run, LinkCut("scheduler-2"))(SchedulerKill("scheduler-2"))
    assert run.asked == ["abandoned"]
    assert run.faults == {}


@pytest.mark.parametrize("declared", [(), (LinkCut("s"), SlowPods(delay=1))])
def test_who_does_not_say_which_is_told_so(declared: tuple[Fault[Any], ...]) -> None:
    with pytest.raises(UserError, match=f"declares {len(declared)} faults"):
        faults(Looked(), *declared)()
