"""Faults of a whole lab: each one bites and heals, on real Airflow, PostgreSQL and pods."""

import time
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg
import pytest

from chaos.database_restart import HOWS, DatabaseRestart
from chaos.holds.request import RequestHold, RequestPoint
from chaos.link_cut import LinkCut
from chaos.pod_deletion import PodDeletion
from chaos.process_stop import ProcessStop
from chaos.scheduler_kill import SchedulerKill
from chaos.slow_pods import SlowPods
from chaos.watch_broken import WatchBroken
from common.errors import UserError
from lab.embedded.lab import EmbeddedLab
from lab.environments.preparation import prepare
from lab.life import start
from lab.pool import Owner
from lab.spec import LabSpec
from lab.supervised import SupervisedLab
from tests.labs import eventually

pytestmark = pytest.mark.xdist_group("labs-3")

GONE = b"too old resource version"


@pytest.fixture(scope="module")
def lab() -> Iterator[SupervisedLab]:
    owner = Owner.me()
    lab = start(LabSpec(prepare("3.0.6"), kubelet="process"), owner=(owner.pid, owner.born))
    yield lab
    lab.stop()


def pod(name: str) -> dict[str, Any]:
    """Return a worker pod that is busy for a minute."""
    command = ["python", "-c", "import time; time.sleep(60)"]
    return {
        "metadata": {"name": name, "labels": {"kubernetes_executor": "True"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "base", "image": "worker", "command": command}],
        },
    }


def phases(lab: SupervisedLab) -> dict[str, str]:
    """Return the phase of each worker pod."""
    listed = lab.kubernetes().list_namespaced_pod(lab.namespace)
    return {each.metadata.name: each.status.phase for each in listed.items}


@pytest.fixture
def three_pods(lab: SupervisedLab) -> Iterator[set[str]]:
    names = {"first", "second", "third"}
    client = lab.kubernetes()
    for name in sorted(names):
        client.create_namespaced_pod(lab.namespace, pod(name))
    assert eventually(lambda: phases(lab) == dict.fromkeys(names, "Running"))
    yield names
    client.delete_collection_namespaced_pod(lab.namespace, grace_period_seconds=0)
    assert eventually(lambda: not phases(lab))


@pytest.mark.usefixtures("three_pods")
def test_pods_are_deleted_one_after_another_until_it_is_healed(lab: SupervisedLab) -> None:
    told: list[tuple[str, ...]] = []
    with PodDeletion(interval=0.5, grace=0).on(lab, lambda *event: told.append(event)) as deletion:
        assert eventually(lambda: len(deletion.kept.deleted) == 2)
        assert deletion.fired()
    assert deletion.kept.deleted == ["first", "second"]
    assert eventually(lambda: phases(lab) == {"third": "Running"})
    assert told == [
        (
            *("begin", "pod-deletion", "worker"),
            "the first of the running pods deleted every 0.5 s, grace 0 s",
        ),
        ("end", "pod-deletion", "worker", "deleted 2 pods: first, second"),
    ]


def test_a_seed_chooses_the_pod(lab: SupervisedLab, three_pods: set[str]) -> None:
    with PodDeletion(interval=60, grace=0).on(lab, seed=4) as deletion:
        assert eventually(deletion.fired)
    assert deletion.fault == PodDeletion(interval=60, grace=0, seed=4)
    [deleted] = deletion.kept.deleted
    assert deleted in three_pods
    assert eventually(lambda: set(phases(lab)) == three_pods - {deleted})


def test_where_no_pod_runs_a_deletion_never_fired(lab: SupervisedLab) -> None:
    told: list[tuple[str, ...]] = []
    with PodDeletion().on(lab, lambda *event: told.append(event)) as fault:
        pass
    assert not fault.fired()
    assert told[-1][-1] == "deleted 0 pods: none ran"


def test_slow_pods_wait_and_those_after_the_fault_do_not(lab: SupervisedLab) -> None:
    client = lab.kubernetes()
    with SlowPods(delay=2.0).on(lab) as fault:
        assert not fault.fired()
        client.create_namespaced_pod(lab.namespace, pod("slow"))
        assert eventually(fault.fired, 5)
        assert phases(lab)["slow"] == "Pending"
        assert eventually(lambda: phases(lab)["slow"] == "Running")
        lab.delay_pods(600)
    client.create_namespaced_pod(lab.namespace, pod("quick"))
    assert eventually(lambda: phases(lab)["quick"] == "Running")
    client.delete_collection_namespaced_pod(lab.namespace, grace_period_seconds=0)


def test_cleaning_takes_the_slowness_away(lab: SupervisedLab) -> None:
    lab.delay_pods(600)
    lab.clean()
    lab.kubernetes().create_namespaced_pod(lab.namespace, pod("quick"))
    assert eventually(lambda: phases(lab).get("quick") == "Running")
    lab.kubernetes().delete_namespaced_pod("quick", lab.namespace, grace_period_seconds=0)


@pytest.mark.parametrize("how", HOWS)
def test_a_restarted_database_drops_its_sessions_and_is_back(lab: SupervisedLab, how: str) -> None:
    before = lab.state.processes["postgres"]
    with psycopg.connect(lab.dsn()) as connection, DatabaseRestart(how).on(lab) as fault:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert fault.fired()
    after = lab.state.processes["postgres"]
    assert after.pid != before.pid
    assert psutil.Process(after.pid).status() != psutil.STATUS_ZOMBIE
    with psycopg.connect(lab.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert eventually(lambda: lab.problems() == [], 60)


def test_a_killed_scheduler_is_dead_until_it_is_healed(lab: SupervisedLab) -> None:
    process = psutil.Process(lab.state.processes["scheduler-2"].pid)
    told: list[tuple[str, ...]] = []
    with SchedulerKill("scheduler-2").on(lab, lambda *event: told.append(event)):
        assert eventually(lambda: not process.is_running() or process.status() == "zombie", 5)
        assert eventually(lambda: any("scheduler-2 ended" in one for one in lab.problems()), 5)
    assert lab.state.processes["scheduler-2"].pid != process.pid
    assert eventually(lambda: lab.problems() == [], 60)
    assert told == [
        ("begin", "scheduler-kill", "scheduler-2", "killed by SIGKILL"),
        ("end", "scheduler-kill", "scheduler-2", "started again"),
    ]


@pytest.mark.parametrize("frozen", [False, True], ids=["ends", "does-not-end"])
def test_who_is_told_to_end_ends_or_is_killed_and_comes_back_when_it_is_healed(
    lab: EmbeddedLab, frozen: bool
) -> None:
    name, patience = ("scheduler-2", 2.0) if frozen else ("dag-processor", 60.0)
    before = lab.state.processes[name].pid
    if frozen:  # it never sees the signal; a scheduler that has just started would end at once
        lab.pause(name)
    begun = time.time()
    told: list[tuple[str, ...]] = []
    with ProcessStop(name, patience).on(lab, lambda *event: told.append(event)):
        assert lab.state.processes[name].pid == before
    (end,) = [each for each in lab.ends() if each.process == name and each.at >= begun]
    # One that has just started dies of the signal: it has no handler of its own yet.
    assert end.exit_code in ([-9] if frozen else [0, -15])
    assert end.at < end.again < time.time()
    assert lab.state.processes[name].pid != before
    assert told[0] == ("begin", "process-stop", name, "told to end by SIGTERM")
    assert told[1][3].startswith("killed " if frozen else "ended ")
    assert eventually(lambda: lab.problems() == [], 60)


def test_who_cannot_be_told_to_end_is_not_waited_for(
    lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_process: str) -> None:
        raise UserError("dag-processor has ended with exit code 1")

    monkeypatch.setattr(lab, "stop_process", refuse)
    begun = time.monotonic()
    stop = ProcessStop("dag-processor").on(lab)
    with pytest.raises(UserError, match="has ended"):
        stop.begin()
    assert not stop.begun
    assert time.monotonic() < begun + 10


def test_a_scheduler_that_gives_up_by_itself_comes_back(lab: SupervisedLab) -> None:
    before = lab.state.processes["scheduler-1"].pid
    with LinkCut("scheduler-1", "reset").on(lab):
        assert eventually(lambda: lab.state.processes["scheduler-1"].pid != before, 60)
    assert eventually(lambda: lab.problems() == [], 60)


def test_each_scheduler_asks_the_kubernetes_api_by_its_own_name(lab: EmbeddedLab) -> None:
    for name in lab.schedulers:
        log = lab.logs()[name]
        told_before = log.read_bytes().count(GONE)
        with WatchBroken(name, how="gone").on(lab) as fault:
            assert eventually(fault.fired, 40)
            assert [each[2] for each in fault.kept.report().last] == [name]
        time.sleep(1)
        assert log.read_bytes().count(GONE) > told_before
    assert lab.problems() == []


def test_a_scheduler_is_held_at_its_request_for_a_pod(lab: EmbeddedLab) -> None:
    with RequestHold(lab.kube_api, "scheduler-*", RequestPoint("create")) as hold:
        lab.api.trigger("issue_57618", "held")
        held = hold.wait_held(timeout=60)
        assert held.process in lab.schedulers
        assert held.pod.startswith("issue-57618-start-")
        assert phases(lab) == {}
        lab.api.mark_run("issue_57618", "held")
    assert eventually(lambda: held.pod in phases(lab), 5)
    lab.clean()


def test_a_real_kubernetes_api_does_nothing_of_the_kind(
    lab: EmbeddedLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "kube_api", "https://127.0.0.1:6443")
    assert "is a real one (KUBEBUILDER_ASSETS)" in (lab.missing("kube-api") or "")


def test_another_way_to_restart_a_database_is_one_clear_line(lab: SupervisedLab) -> None:
    with pytest.raises(UserError, match="restarts fast or immediate, not 'gently'"):
        DatabaseRestart("gently")
    with pytest.raises(UserError, match="fast or immediate, not 'gently'"):
        lab.restart_database("gently")
    assert lab.problems() == []


def test_a_role_that_is_not_there_is_told_with_those_that_are(lab: SupervisedLab) -> None:
    assert lab.process("scheduler-2") == "scheduler-2"
    with pytest.raises(UserError, match="no process 'scheduler-9'") as error:
        lab.process("scheduler-9")
    assert "scheduler-1, scheduler-2" in error.value.hint


def test_the_embedded_lab_misses_nothing_but_a_node(lab: SupervisedLab) -> None:
    powers = (
        *("pause", "kill", "hold", "restart-database", "delay-pods", "proxy", "worker-requests"),
        *("kube-api", "pools"),
    )
    assert [lab.missing(power) for power in powers] == [None] * 9
    assert "on this machine itself" in (lab.missing("node") or "")
    assert "on this machine itself" in (lab.missing("netem") or "")
