"""A context of the user's kubeconfig is taken over whole, wherever its parts stand."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kube.client import api_client, single_context


def kubeconfig(path: Path, name: str, *, current: bool = True, **cluster: Any) -> Path:
    data = {
        "current-context": name if current else "",
        "contexts": [{"name": name, "context": {"cluster": f"{name}-c", "user": f"{name}-u"}}],
        "clusters": [{"name": f"{name}-c", "cluster": {"server": "https://x", **cluster}}],
        "users": [{"name": f"{name}-u", "user": {"token": name, "client-key": "keys/k.pem"}}],
    }
    path.write_text(yaml.safe_dump(data))
    return path


def test_paths_inside_stay_those_of_the_file_they_stand_in(tmp_path: Path) -> None:
    authority: dict[str, Any] = {"certificate-authority": "ca.pem"}
    file = kubeconfig(tmp_path / "a", "a", **authority)
    data = single_context(str(file), None)
    assert data["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.pem")
    assert data["users"][0]["user"] == {
        "token": "a",
        "client-key": str(tmp_path / "keys" / "k.pem"),
    }


def test_a_list_of_files_is_searched_as_kubectl_does(tmp_path: Path) -> None:
    files = [kubeconfig(tmp_path / name, name) for name in ("a", "b")]
    joined = os.pathsep.join(map(str, [tmp_path / "none", *files]))
    assert single_context(joined, None)["current-context"] == "a"
    assert single_context(joined, "b")["users"][0]["user"]["token"] == "b"


def test_nothing_of_other_contexts_is_taken_along(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    other = yaml.safe_load(kubeconfig(tmp_path / "b", "b").read_text())
    data = yaml.safe_load(file.read_text())
    for kind in ("contexts", "clusters", "users"):
        data[kind] += other[kind]
    file.write_text(yaml.safe_dump(data))
    assert "b-u" not in yaml.safe_dump(single_context(str(file), "a"))


def test_a_client_is_made_of_a_context_that_stands_in_no_file(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "k.pem").touch()
    client = api_client(single_context(str(kubeconfig(tmp_path / "a", "a")), None))
    assert client.configuration.host == "https://x"
    assert client.configuration.auth_settings()["BearerToken"]["value"] == "Bearer a"


def test_a_kubeconfig_that_cannot_be_used_is_told_without_what_it_holds(tmp_path: Path) -> None:
    data = single_context(str(kubeconfig(tmp_path / "a", "a")), None)
    data["clusters"] = []
    with pytest.raises(UserError, match="The kubeconfig a cannot be used") as caught:
        api_client(data)
    assert "token" not in str(caught.value)


@pytest.mark.parametrize(
    ("context", "current", "said"),
    [("z", True, "has no context 'z'"), (None, False, "has no current context")],
)
def test_a_context_that_is_not_there_is_told(
    tmp_path: Path, context: str | None, current: bool, said: str
) -> None:
    file = kubeconfig(tmp_path / "a", "a", current=current)
    with pytest.raises(UserError, match=said):
        single_context(str(file), context)


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no kubeconfig"):
        single_context(str(tmp_path / "none"), None)
