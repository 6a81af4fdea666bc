"""What is wrong with the options of --lab cluster is one clear line."""

from pathlib import Path

import pytest
import yaml

from tests.deployment.standin import StandIn
from tests.unit.test_options import collect


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lab", "cluster", "--namespace", "n", "--airflow", "3.0.6"), "leave out --airflow"),
        (("--lab", "cluster", "--namespace", "n", "--observe=-1"), "0 or more"),
        (("--lab", "cluster", "--namespace", "n", "--observe=soon"), "invalid float value"),
        (("--observe",), "--observe is for --lab cluster"),
        (("--allow-faults",), "--allow-faults is for --lab cluster"),
        (("--namespace", "n"), "--namespace is for --lab cluster"),
    ],
)
def test_a_bad_option_is_told_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, output = collect(*arguments)
    assert code == 4
    assert said in output
    assert "Traceback" not in output


def test_without_a_namespace_the_context_s_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(config))
    with StandIn() as there:
        data = there.kubeconfig()
        for namespace, said in (
            ("", "needs --namespace: where the release runs. Context standin names none."),
            ("prod", "Namespace prod has no running pods"),
        ):
            data["contexts"][0]["context"]["namespace"] = namespace
            config.write_text(yaml.safe_dump(data))
            code, output = collect("--lab", "cluster")
            assert code == 4
            assert said in output
            assert "Traceback" not in output


def test_a_cluster_that_cannot_be_had_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("none") / "config"))
    code, output = collect("--lab", "cluster", "--namespace", "n")
    assert code == 4
    assert "There is no kubeconfig" in output
    assert "Traceback" not in output


def test_without_observe_nothing_is_observed() -> None:
    code, output = collect()
    assert code == 0
    assert "test_observation" not in output
