"""Values merge by one rule, layers are named, and what cannot be is one clear line."""

import argparse
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from lab.kind.helm import command, values
from lab.kind.helm.files import Values
from lab.kind.helm.values import (
    DEFAULT_LAYERS,
    LAYERS,
    known_layers,
    lab_values,
    layers_for,
    merge,
    merged,
)

FILES = ["factory.py", "shapes.py"]


def plain(**changes: object) -> Values:
    """Return the merged values of one plain release, with some arguments changed."""
    arguments = {"schedulers": 2, "image": "apache/airflow:3.0.6", "env": {}, "dag_files": FILES}
    return merged(lab_values("3.0.6", **(arguments | changes)))  # type: ignore[arg-type]


def test_mappings_merge_key_by_key_and_leave_both_sides_alone() -> None:
    under = {"a": {"x": 1, "y": 2}}
    over = {"a": {"y": 3}, "b": 4}

    assert merge(under, over) == {"a": {"x": 1, "y": 3}, "b": 4}
    assert under == {"a": {"x": 1, "y": 2}}
    assert over == {"a": {"y": 3}, "b": 4}


def test_variables_of_several_layers_add_up_and_a_later_one_of_a_name_wins() -> None:
    under = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]}
    over = {"env": [{"name": "B", "value": "2"}, {"name": "C", "value": "2"}]}

    found = merge(under, over)["env"]

    assert [(each["name"], each["value"]) for each in found] == [("A", "1"), ("B", "2"), ("C", "2")]


def test_a_release_leaves_the_labs_values_alone() -> None:
    lab = lab_values("3.0.6", schedulers=2, image="a:b")

    merged(lab)["scheduler"]["replicas"] = 9

    assert lab["scheduler"]["replicas"] == 2
    assert isinstance(lab["extraEnv"], list)


def test_mounts_of_one_volume_add_up_by_their_place() -> None:
    one = {"mounts": [{"name": "dags", "mountPath": "/a"}]}
    other = {"mounts": [{"name": "dags", "mountPath": "/b"}]}

    assert len(merge(one, other)["mounts"]) == 2


@pytest.mark.parametrize("over", [["x"], [], None, "text", [{"no": "name"}]])
def test_anything_else_is_replaced(over: object) -> None:
    assert merge({"args": ["a", "b"]}, {"args": over}) == {"args": over}


def test_every_layer_says_why_before_what() -> None:
    for path in LAYERS.glob("*.yaml"):
        assert path.read_text().startswith("# "), path.name
        assert isinstance(yaml.safe_load(path.read_text()), dict), path.name


def test_a_users_own_dags_take_the_place_of_ours() -> None:
    found = plain(layers=["dags-own"])
    for part in ("dagProcessor", "workers", "triggerer"):
        mounts = found[part]["extraVolumeMounts"]
        assert [each["mountPath"] for each in mounts] == ["/opt/airflow/dags"]
        assert [each["name"] for each in found[part]["extraInitContainers"]] == ["own-dags"]
    slow = plain(layers=["dags-own", "slow-pods"])["workers"]["extraInitContainers"]
    assert [each["name"] for each in slow] == ["own-dags", "start-delay"]


def test_layers_are_added_to_the_default_ones() -> None:
    assert layers_for("3.0.6", ["slow-pods"]) == [*DEFAULT_LAYERS, "slow-pods"]
    assert layers_for("3.0.6", ["base"]) == list(DEFAULT_LAYERS)


def test_a_variant_takes_the_place_of_what_it_varies() -> None:
    chosen = layers_for("3.0.6", ["liveness-defaults"])

    assert "liveness" not in chosen
    assert chosen[-1] == "liveness-defaults"


def test_a_versions_line_chooses_its_layer_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "airflow-3.1.yaml").write_text("# why\nx: 1\n")
    (tmp_path / "other.yaml").write_text("# why\nx: 1\n")
    monkeypatch.setattr(values, "LAYERS", tmp_path)

    assert layers_for("3.1.8") == [*DEFAULT_LAYERS, "airflow-3.1"]
    assert layers_for("3.0.6") == list(DEFAULT_LAYERS)
    assert known_layers() == ["other"]


def test_an_unknown_layer_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no values layer 'bouncer'.*pgbouncer.*slow-pods"):
        layers_for("3.0.6", ["bouncer"])


def test_a_release_is_what_was_asked_for() -> None:
    found = plain(schedulers=3, env={"HA_CHAOS_SLEEP": "2"}, image="here:5000/my/airflow:x")

    assert found["scheduler"]["replicas"] == 3
    assert found["defaultAirflowRepository"] == "here:5000/my/airflow"
    assert found["defaultAirflowTag"] == "x"
    assert found["airflowVersion"] == "3.0.6"
    assert {"name": "HA_CHAOS_SLEEP", "value": "2"} in found["env"]


@pytest.mark.parametrize(
    ("version", "told"),
    [("3.1.0rc1", "3.1.0"), ("3.4.0b2", "3.4.0"), ("3.4.0a1", "3.4.0"), ("3.3", "3.3.0")],
)
def test_the_chart_is_told_a_final_version_which_it_can_compare(version: str, told: str) -> None:
    found = merged(lab_values(version, schedulers=2, image=f"apache/airflow:{version}"))

    assert found["airflowVersion"] == told
    assert found["defaultAirflowTag"] == version


def test_each_dag_file_is_mounted_alone_where_dags_are_parsed() -> None:
    found = plain()

    for part in ("dagProcessor", "workers"):
        mounts = found[part]["extraVolumeMounts"]
        assert [each["subPath"] for each in mounts] == FILES
        assert {each["mountPath"] for each in mounts} == {f"/opt/airflow/dags/{n}" for n in FILES}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedulers": 0}, "0 schedulers"),
        ({"image": "airflow@sha256:00"}, "by digest"),
        ({"image": ""}, "is not an image"),
        ({"dag_files": ["my dag.py"]}, "'my dag.py' cannot be a ConfigMap's key"),
    ],
)
def test_what_cannot_be_is_one_clear_line(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plain(**changes)


@pytest.mark.parametrize(
    ("version", "said"), [("2.10.5", "older than 3.0"), ("x", "not a version")]
)
def test_only_airflow_3_has_values(version: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lab_values(version, schedulers=2, image="a:b")


def run_command(*arguments: str) -> int:
    """Run `python -m lab values` with these arguments."""
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.run(parser.parse_args(["values", *arguments]))


def test_the_command_prints_values_for_helm_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HA_CHAOS_SHAPES", "tiny")
    monkeypatch.setenv("HA_CHAOS_LEDGER", "password=hunter2")

    assert run_command("--airflow", "3.0.6", "--schedulers", "3") == 0

    printed = capsys.readouterr().out
    found = yaml.safe_load(printed)
    assert found["scheduler"]["replicas"] == 3
    assert found["defaultAirflowTag"] == "3.0.6"
    assert {"name": "HA_CHAOS_SHAPES", "value": "tiny"} in found["env"]
    assert "hunter2" not in printed


def test_the_dag_folder_is_mounted_with_its_list_of_what_is_no_dag() -> None:
    assert {"factory.py", "work.py", ".airflowignore"} <= set(values.dag_files())
