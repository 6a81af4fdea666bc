"""How a kind cluster is to be made, and why it could not be, told in a line."""

import sys
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from lab.kind.cluster import configuration
from lab.kind.tools import reason, run

SETTINGS = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "networking": {"disableDefaultCNI": True},
    "nodes": [{"role": "control-plane", "image": "mine"}, {"role": "worker"}],
}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "kind.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def roles(made: dict[str, list[dict[str, str]]]) -> list[str]:
    return [node["role"] for node in made["nodes"]]


def test_one_node_unless_more_are_asked_for() -> None:
    assert roles(configuration(None, None)) == ["control-plane"]
    assert roles(configuration(3, None)) == ["control-plane", "worker", "worker"]


def test_the_users_settings_are_kept_and_workers_added(settings: Path) -> None:
    assert configuration(None, settings) == SETTINGS
    made = configuration(3, settings)
    assert made["networking"] == SETTINGS["networking"]
    assert made["nodes"][0] == {"role": "control-plane", "image": "mine"}
    assert roles(made) == ["control-plane", "worker", "worker"]


def test_fewer_nodes_than_the_users_settings_list_is_refused(settings: Path) -> None:
    with pytest.raises(UserError, match="--kind-nodes 1, but --kind-config lists 2"):
        configuration(1, settings)


@pytest.mark.parametrize("text", ["kind: Pod", "- a list", "{", ""])
def test_what_is_no_kind_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"--kind-config .* is not ") as told:
        configuration(None, path)
    assert "\n" not in str(told.value)


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        configuration(None, tmp_path / "none.yaml")


def test_a_failure_gives_the_error_and_what_is_below_it() -> None:
    lines = [" ✗ Preparing nodes", "ERROR: failed to create cluster: pull", "Stack:", "no route"]
    assert reason(lines) == "ERROR: failed to create cluster: pull (no route)"
    assert reason(["", "only this", ""]) == "only this"
    assert reason([]) == "it gave no reason"


def test_a_program_that_fails_is_told_with_its_reason() -> None:
    heard: list[str] = []
    script = "import sys; print('one', file=sys.stderr); sys.exit('Error: two')"
    with pytest.raises(UserError, match="failed: Error: two"):
        run([sys.executable, "-c", script], limit=30, progress=heard.append)
    assert heard == ["one", "Error: two"]


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(UserError, match="took over 1 s"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], limit=1)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"kind cannot be run: .*: No such file.*make tools"):
        run([tmp_path / "kind"], limit=1)
