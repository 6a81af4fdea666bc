"""What of a deployment is not seen is said by name, and what of it is another's is known."""

import pytest

from common.errors import UserError
from lab.cluster.discovery import Release, discover, executors
from lab.kube.pods import own_workers
from tests.deployment.release import release
from tests.deployment.standin import StandIn

ONE = "[core]\nexecutor = KubernetesExecutor\n"
MULTI = f"""{ONE}
[kubernetes_executor]
multi_namespace_mode = True
namespace = airflow
multi_namespace_mode_namespace_list = airflow,team-a, team-b
"""
EVERYWHERE = f"{ONE}[kubernetes_executor]\nmulti_namespace_mode = True\n"
TEAMS = """[core]
executor = KubernetesExecutor;team_a=CeleryExecutor;team_b=KubernetesExecutor
multi_team = True
[kubernetes_executor]
namespace = airflow
"""


def found(config: str, env: dict[str, str] | None = None) -> Release:
    with StandIn(release("airflow", config, env)) as there:
        return discover(there.client(), "airflow")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (ONE, ()),
        (
            ONE.replace("Kub", "CeleryExecutor, Kub"),
            ("what CeleryExecutor runs: only KubernetesExecutor's workers are followed",),
        ),
        (
            f"{ONE}[kubernetes_executor]\nnamespace = jobs\n",
            ("worker pods: they are in namespace jobs",),
        ),
        (MULTI, ("worker pods in team-a, team-b (multi_namespace_mode)",)),
        (
            EVERYWHERE,
            ("worker pods outside airflow: multi_namespace_mode allows every namespace",),
        ),
        (MULTI.replace(",team-a, team-b", ""), ()),
        (MULTI.replace("True", "False"), ()),
        (
            TEAMS,
            (
                "what CeleryExecutor runs for team team_a: "
                "only KubernetesExecutor's workers are followed",
            ),
        ),
        (TEAMS.replace("multi_team = True", ""), ()),
        (
            f"{TEAMS}[team_b=kubernetes_executor]\nnamespace = b\n",
            (
                "what CeleryExecutor runs for team team_a: "
                "only KubernetesExecutor's workers are followed",
                "worker pods of team team_b: they are in namespace b",
            ),
        ),
    ],
)
def test_what_is_not_covered_is_named(config: str, named: tuple[str, ...]) -> None:
    assert found(config).not_covered == named


def test_the_environment_comes_before_the_file() -> None:
    env = {
        "AIRFLOW__KUBERNETES_EXECUTOR__MULTI_NAMESPACE_MODE": "true",
        "AIRFLOW__TEAM_B___KUBERNETES_EXECUTOR__NAMESPACE": "b",
    }
    assert found(TEAMS, env).not_covered[1:] == (
        "worker pods of team team_b: they are in namespace b",
        "worker pods outside airflow: multi_namespace_mode allows every namespace",
    )


def test_a_release_without_kubernetes_executor_is_refused() -> None:
    with pytest.raises(UserError, match="runs CeleryExecutor"):
        found("[core]\nexecutor = CeleryExecutor\n")


def test_two_releases_in_a_namespace_are_neighbours() -> None:
    both = [*release("airflow", ONE), *release("airflow-dev", ONE)]
    with StandIn(both) as there:
        client = there.client()
        with pytest.raises(UserError, match="several releases: airflow, airflow-dev"):
            discover(client, "airflow")
        one = discover(client, "airflow", "airflow")
    assert (one.name, one.schedulers) == ("airflow", ("airflow-scheduler-1",))
    assert one.neighbours == ("airflow-dev",)
    assert own_workers(one.name, one.neighbours) == "kubernetes_executor=True,release=airflow"
    assert own_workers("airflow", ()) == "kubernetes_executor=True"


def test_executors_are_read_as_airflow_reads_them() -> None:
    assert executors("KubernetesExecutor, k:my.Executor;=X;a=LocalExecutor", teams=True) == [
        ("", "KubernetesExecutor"),
        ("", "k:my.Executor"),
        ("", "X"),
        ("a", "LocalExecutor"),
    ]
