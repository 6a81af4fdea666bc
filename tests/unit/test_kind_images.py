"""An image counts as loaded when it is the one that the local engine has under that name."""

import pytest

from lab.kind.images import digest, has_image, reference

ON_NODE = {
    "docker.io/library/postgres:15": "sha256:manifest-new",
    "docker.io/apache/airflow:3.0.6": "sha256:manifest-old",
    "sha256:config-new": "sha256:manifest-new",
    "sha256:config-old": "sha256:manifest-old",
}


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("postgres", "docker.io/library/postgres:latest"),
        ("postgres:15", "docker.io/library/postgres:15"),
        ("docker.io/postgres:15", "docker.io/library/postgres:15"),
        ("apache/airflow:3.0.6", "docker.io/apache/airflow:3.0.6"),
        ("ghcr.io/apache/airflow:3", "ghcr.io/apache/airflow:3"),
        ("localhost/airflow", "localhost/airflow:latest"),
        ("localhost:5000/airflow", "localhost:5000/airflow:latest"),
        ("postgres@sha256:ab", "docker.io/library/postgres@sha256:ab"),
    ],
)
def test_a_name_is_completed_as_containerd_does(name: str, full: str) -> None:
    assert reference(name) == full


def test_the_same_image_is_there_by_its_configuration_or_its_manifest() -> None:
    assert has_image(ON_NODE, "postgres:15", "sha256:config-new")
    assert has_image(ON_NODE, "postgres:15", "sha256:manifest-new")


def test_a_rebuilt_image_is_not_there_yet() -> None:
    assert not has_image(ON_NODE, "apache/airflow:3.0.6", "sha256:config-newer")
    assert not has_image(ON_NODE, "apache/airflow:3.0.6", "sha256:config-new")


def test_what_the_engine_lacks_is_taken_as_the_node_has_it() -> None:
    assert has_image(ON_NODE, "postgres:15", None)
    assert not has_image(ON_NODE, "postgres:16", None)


def test_an_image_is_told_by_its_configuration_which_is_the_same_however_it_was_loaded() -> None:
    assert digest(ON_NODE, "postgres:15") == "sha256:config-new"
    assert digest(ON_NODE, "apache/airflow:3.0.6") == "sha256:config-old"
    assert digest({"docker.io/library/x:1": "sha256:manifest"}, "x:1") == "sha256:manifest"
    assert digest(ON_NODE, "postgres:16") == ""
