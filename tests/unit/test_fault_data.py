"""Every fault in chaos/ is data, is named as its file, and takes powers that some lab has."""

import dataclasses
import importlib
import inspect
import math
import pkgutil
from typing import Any

import pytest

import chaos
from chaos.base import Fault
from chaos.database_restart import DatabaseRestart
from chaos.pod_deletion import PodDeletion
from chaos.process_stop import ProcessStop
from chaos.scheduler_kill import SchedulerKill
from chaos.slow_pods import SlowPods
from common.errors import UserError
from lab.kinds import missing


def faults() -> dict[str, type[Fault[Any]]]:
    """Return the faults that there are, each by the module it stands in."""
    found = {}
    for module in pkgutil.iter_modules(chaos.__path__):
        for _, each in inspect.getmembers(importlib.import_module(f"chaos.{module.name}")):
            own = inspect.isclass(each) and each.__module__ == f"chaos.{module.name}"
            if own and issubclass(each, Fault) and not inspect.isabstract(each):
                found[module.name] = each
    return found


def test_old_histories_name_the_same_faults() -> None:
    assert {fault.name for fault in faults().values()} == {
        "api-server-errors",
        "api-server-kill",
        "api-server-pause",
        "database-restart",
        "dropped-requests",
        "late-pod-end",
        "link-cut",
        "link-loss",
        "lost-answers",
        "network-latency",
        "node-pause",
        "pod-answer-lost",
        "pod-api-drop",
        "pod-api-error",
        "pod-api-latency",
        "pod-deletion",
        "pod-network",
        "process-kill",
        "process-pause",
        "process-stop",
        "scheduler-kill",
        "scheduler-pause",
        "slow-api-server",
        "slow-pods",
        "statement-delay",
        "watch-broken",
    }


@pytest.mark.parametrize("module", faults())
def test_a_fault_is_frozen_and_named_as_its_file(module: str) -> None:
    fault = faults()[module]
    assert fault.name == module.replace("_", "-")
    assert fault.__dict__["__dataclass_params__"].frozen
    assert (fault.__doc__ or "").count("\n") > 0


@pytest.mark.parametrize("module", faults())
def test_a_fault_takes_powers_that_some_lab_has(module: str) -> None:
    for power in faults()[module].powers:
        assert None in [missing(kind, power) for kind in ("embedded", "kind", "cluster")]


def test_what_a_kind_of_lab_never_has_is_known_before_there_is_one() -> None:
    assert "on this machine itself" in (missing("embedded", "node") or "")
    assert missing("kind", "node") is None
    assert missing("cluster", "node") == "the cluster's nodes are not ours"
    assert missing("cluster", "proxy") == "the lab has no proxy in front of its database"
    assert missing("cluster", "kill") is None
    for kind in ("kind", "cluster"):
        assert "between its workers and its API server" in (missing(kind, "worker-requests") or "")
    assert missing("embedded", "worker-requests") is None
    assert missing("embedded", "kube-api") is None
    assert "is a real one" in (missing("kind", "kube-api") or "")
    assert missing("cluster", "kube-api") == "the cluster's Kubernetes API is not ours"


def test_a_power_that_no_lab_has_is_a_mistake_and_no_skip() -> None:
    with pytest.raises(
        UserError, match=r"No lab has the power 'kil'\. There are delay-pods, explore, hold,"
    ):
        missing("embedded", "kil")


def test_a_fault_is_a_value() -> None:
    one = SchedulerKill("scheduler-2", seconds=10)
    assert one == SchedulerKill("scheduler-2", seconds=10)
    assert dataclasses.replace(one, seconds=20).detail == "killed by SIGKILL, dead for 20 s or more"
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.seconds = 20  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fault", "wrong", "message"),
    [
        (SlowPods, {"delay": 0}, "The delay must be greater than 0 s."),
        (ProcessStop, {"process": "x", "patience": 0}, "The patience must be greater than 0 s."),
        (SlowPods, {"delay": -1}, "The delay must be greater than 0 s."),
        (PodDeletion, {"interval": 0}, "The interval must be greater than 0 s."),
        (PodDeletion, {"grace": -1}, "The grace must be 0 s or more."),
        (
            DatabaseRestart,
            {"how": "gently"},
            "A database restarts fast or immediate, not 'gently'.",
        ),
        (DatabaseRestart, {"seconds": -1}, "A fault cannot last -1 s."),
        (DatabaseRestart, {"seconds": math.inf}, "A fault cannot last inf s."),
    ],
)
def test_a_fault_that_cannot_be_is_refused_where_it_is_made(
    fault: type[Fault[Any]], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        fault(**wrong)
    assert refused.value.message == message
