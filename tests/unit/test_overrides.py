"""`--set` of `python -m lab up`, and what is told of the shell's own AIRFLOW__ variables."""

import pytest

from common.errors import UserError
from common.paths import PROJECT
from lab.embedded.components import Endpoints, _where_it_is, airflow_settings
from lab.environments.settings import FIXED, ignored, variables
from load.profiles import FAST_PODS, PROFILES

AT = Endpoints(1, 2, 3, 4, "http://127.0.0.1:5", "secret", "secret", "/tmp")


def test_a_setting_becomes_the_variable_that_airflow_reads() -> None:
    assert variables(["core.parallelism=7", "scheduler.Parsing_x=a=b,c", "core.x="]) == {
        "AIRFLOW__CORE__PARALLELISM": "7",
        "AIRFLOW__SCHEDULER__PARSING_X": "a=b,c",
        "AIRFLOW__CORE__X": "",
    }


@pytest.mark.parametrize("setting", ["parallelism=7", "core.parallelism", "=7", "core.=7", ""])
def test_what_is_no_setting_is_refused_with_how_to_write_one(setting: str) -> None:
    with pytest.raises(UserError, match=r"is not a valid setting\. Write section\.option=value"):
        variables([setting])


@pytest.mark.parametrize(
    "option",
    [
        "database.sql_alchemy_conn",
        "database.sql_alchemy_conn_cmd",
        "DATABASE.SQL_ALCHEMY_CONN_ASYNC_SECRET",
        "core.executor",
        "kubernetes_executor.config_file",
        "kubernetes_executor.cluster_context",
        "core.simple_auth_manager_all_admins",
        "api_auth.jwt_secret",
    ],
)
def test_no_setting_leads_a_lab_to_somebody_elses_database_or_cluster(option: str) -> None:
    with pytest.raises(UserError, match=f"{option.lower()}: the lab itself decides that"):
        variables([f"{option}=elsewhere"])


def test_a_lab_makes_as_many_pods_a_loop_as_airflow_does_by_default() -> None:
    """Only floods that are about numbers ask for more; those with faults are as a deployment is."""
    assert not set(FAST_PODS) & set(airflow_settings(AT, PROJECT, PROJECT / "dags"))
    assert (
        "worker_pods_creation_batch_size" not in (PROJECT / "charts-values/base.yaml").read_text()
    )
    fast = {name for name, each in PROFILES.items() if set(FAST_PODS) & set(each.settings)}
    assert fast == {"issue", "steady", "every"}


def test_where_the_labs_parts_are_is_fixed() -> None:
    where = _where_it_is(AT, PROJECT)
    assert set(where) <= set(FIXED)


def test_each_refusal_says_why() -> None:
    with pytest.raises(UserError, match=r"core.executor: .*KubernetesExecutor\. Leave it out"):
        variables(["core.executor=LocalExecutor"])


def test_what_the_shell_says_and_is_not_taken_is_told_by_name_alone() -> None:
    shell = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://u:secret@production/airflow",
        "AIRFLOW__CORE__PARALLELISM": "7",
        "AIRFLOW_HOME": "/home",
        "PATH": "/bin",
    }
    assert ignored(shell, []) == (
        "Not taken from your shell: AIRFLOW__CORE__PARALLELISM, "
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN. Give --set core.parallelism=VALUE to set one."
    )
    assert "PARALLELISM" not in ignored(shell, variables(["core.parallelism=9"]))
    assert ignored({"PATH": "/bin"}, []) == ""
