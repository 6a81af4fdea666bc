"""A context of the user's kubeconfig is taken over whole, wherever its parts stand."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import UserError
from lab.kube import kubeconfig as module
from lab.kube.client import api_client
from lab.kube.kubeconfig import IN_CLUSTER, default_kubeconfig, read_context, single_context

SECRET = "hunter2"


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


@pytest.mark.parametrize(
    ("command", "taken"), [("aws", "aws"), ("/bin/aws", "/bin/aws"), ("./bin/aws", "{}/bin/aws")]
)
def test_a_plugin_s_path_is_that_of_the_file_it_stands_in(
    tmp_path: Path, command: str, taken: str
) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    data = yaml.safe_load(file.read_text())
    data["users"][0]["user"] = {"exec": {"command": command}}
    file.write_text(yaml.safe_dump(data))
    user = single_context(str(file), None)["users"][0]["user"]
    assert user["exec"]["command"] == taken.format(tmp_path)


def test_a_list_of_files_is_searched_as_kubectl_does(tmp_path: Path) -> None:
    files = [kubeconfig(tmp_path / name, name) for name in ("a", "b")]
    (tmp_path / "nothing").touch()
    joined = os.pathsep.join(map(str, [tmp_path / "none", tmp_path / "nothing", *files]))
    assert single_context(joined, None)["current-context"] == "a"
    assert single_context(joined, "b")["users"][0]["user"]["token"] == "b"


def test_of_two_entries_of_one_name_the_first_file_s_counts_alone(tmp_path: Path) -> None:
    first, second = kubeconfig(tmp_path / "a", "a"), kubeconfig(tmp_path / "b", "a", x=1)
    data = yaml.safe_load(first.read_text())
    del data["current-context"]
    first.write_text(yaml.safe_dump(data))
    found = single_context(os.pathsep.join(map(str, (first, second))), None)
    assert found["current-context"] == "a"
    assert found["clusters"][0]["cluster"] == {"server": "https://x"}


def test_parts_of_a_context_may_stand_in_several_files(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    data = yaml.safe_load(file.read_text())
    for kind in ("contexts", "clusters", "users"):
        part = {kind: data[kind], **({"current-context": "a"} if kind == "users" else {})}
        (tmp_path / kind).write_text(yaml.safe_dump(part))
    joined = os.pathsep.join(str(tmp_path / kind) for kind in ("contexts", "clusters", "users"))
    found = single_context(joined, None)
    assert [found[kind] for kind in ("contexts", "clusters")] == [
        data["contexts"],
        data["clusters"],
    ]
    assert found["users"][0]["user"]["token"] == "a"


def test_nothing_of_other_contexts_is_taken_along(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    other = yaml.safe_load(kubeconfig(tmp_path / "b", "b").read_text())
    data = yaml.safe_load(file.read_text())
    for kind in ("contexts", "clusters", "users"):
        data[kind] += other[kind]
    file.write_text(yaml.safe_dump(data))
    assert "b-u" not in yaml.safe_dump(single_context(str(file), "a"))


def test_a_context_may_have_no_user(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    data = yaml.safe_load(file.read_text())
    del data["contexts"][0]["context"]["user"]
    del data["users"]
    file.write_text(yaml.safe_dump(data))
    assert single_context(str(file), None)["users"] == []
    assert api_client(file).configuration.host == "https://x"


def test_the_context_s_namespace_is_known(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "a", "a")
    assert read_context(file).namespace == ""
    data = yaml.safe_load(file.read_text())
    data["contexts"][0]["context"]["namespace"] = "prod"
    file.write_text(yaml.safe_dump(data))
    assert read_context(file).namespace == "prod"
    assert read_context(single_context(str(file), "a")).namespace == "prod"


def test_a_lab_s_copy_knows_where_it_was_taken_from(tmp_path: Path) -> None:
    file, copy = kubeconfig(tmp_path / "a", "a"), tmp_path / "copy"
    copy.write_text(yaml.safe_dump(single_context(str(file), "a")))
    assert read_context(copy).origin == (str(file), "a")
    assert read_context(file).origin == (str(file), "a")


def _with(path: Path, change: Any) -> Path:
    data = yaml.safe_load(kubeconfig(path, "a").read_text())
    data["users"][0]["user"] = {"token": SECRET}
    path.write_text(yaml.safe_dump(change(data)))
    return path


def _entry(kind: str, **more: Any) -> Any:
    def change(data: Any) -> Any:
        data[f"{kind}s"][0][kind] |= more
        return data

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "is empty"),
        (lambda _: [SECRET], "is not a valid kubeconfig"),
        (lambda data: data | {"contexts": SECRET}, "contexts is not a list"),
        (lambda data: data | {"contexts": [SECRET]}, "an entry of contexts has no name"),
        (lambda data: data | {"contexts": [{"context": {}}]}, "an entry of contexts has no name"),
        (lambda data: data | {"contexts": None}, "has no context 'a'.*It has: none"),
        (lambda data: data | {"clusters": [{"name": "a-c"}]}, "has no valid server: none"),
        (lambda data: data | {"clusters": None}, "no entry 'a-c' under clusters"),
        (lambda data: data | {"users": []}, "no entry 'a-u' under users"),
        (lambda data: data | {"users": [{"name": "a-u", "user": [SECRET]}]}, "an entry of users"),
        (_entry("context", cluster=None), "names no cluster"),
        (_entry("cluster", server="ftp://x"), "has no valid server: ftp://x"),
        (_entry("cluster", server="https://x:port"), "has no valid server"),
        (_entry("cluster", server=5), "Expected `str`, got `int` - at `\\$.server`"),
        (_entry("user", token=5), "Expected `str`, got `int` - at `\\$.token`"),
        (_entry("user", exec={"args": []}), "missing required field `command` - at `\\$.exec`"),
        (_entry("cluster", **{"certificate-authority": "no.pem"}), "no.pem cannot be read: No"),
        (_entry("cluster", **{"certificate-authority-data": "!"}), "not a certificate"),
        (_entry("cluster", **{"certificate-authority-data": "eA=="}), "not a certificate in PEM"),
        (
            _entry("user", **{"client-certificate": "no.pem"}),
            "client-certificate .* cannot be read",
        ),
        (
            _entry("user", **{"client-certificate-data": "eA==", "client-key-data": "eA=="}),
            "cannot be used with its key",
        ),
        (_entry("user", token="", tokenFile="no.txt"), "no.txt cannot be used: No such file"),
        (_entry("user", **{"as-groups": ["ops"]}), "without `as`"),
        (
            _entry("user", token="", **{"auth-provider": {"name": "gcp"}}),
            "auth-provider 'gcp', which kubectl has not any more",
        ),
        (
            _entry("cluster", **{"proxy-url": f"http://u:{SECRET}#@p"}),
            "proxy-url in the kubeconfig",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_line_without_what_it_holds(
    tmp_path: Path, change: Any, said: str
) -> None:
    file = _with(tmp_path / "a", change)
    with pytest.raises(UserError, match=said) as caught:
        api_client(single_context(str(file), None))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"token: {SECRET}\n  x: [".encode(), "is not YAML \\(line 2\\)"),
        (b"\xff\xfe" + SECRET.encode(), "is not YAML"),
        (f"a: !!python/object:os.system {SECRET}".encode(), "is not YAML"),
        (b"[" * 20_000, "is not YAML"),
        (b"", "is empty"),
        (b"# nothing", "is empty"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_one_line_without_what_it_holds(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        single_context(str(tmp_path / "a"), None)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        single_context(str(tmp_path), None)


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


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """We run in a pod, without a kubeconfig."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    for name, text in (("token", "first\n"), ("namespace", "prod\n")):
        (folder / name).write_text(text)
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", folder)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    return folder


def test_inside_a_pod_its_service_account_is_used(pod: Path) -> None:
    assert default_kubeconfig() == IN_CLUSTER
    found = read_context(single_context(IN_CLUSTER, None))
    assert found.cluster.server == "https://10.0.0.1:6443"
    assert found.cluster.certificate_authority == str(pod / "ca.crt")
    assert found.user.token_file == str(pod / "token")
    assert found.namespace == "prod"
    assert found.origin == (IN_CLUSTER, IN_CLUSTER)
    with pytest.raises(UserError, match="Leave out --context"):
        single_context(IN_CLUSTER, "prod")


def test_inside_a_pod_an_ipv6_address_has_brackets(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pod.exists()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    found = read_context(single_context(IN_CLUSTER, None))
    assert found.cluster.server == "https://[fd00::1]:6443"


def test_inside_a_pod_a_kubeconfig_comes_first(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kube").mkdir()
    file = kubeconfig(tmp_path / ".kube" / "config", "a")
    assert default_kubeconfig() == str(file)
    file.unlink()
    (pod / "token").unlink()
    assert default_kubeconfig() == str(file)
    monkeypatch.setenv("KUBECONFIG", f"~/x{os.pathsep}{os.pathsep}y")
    assert default_kubeconfig() == f"{tmp_path / 'x'}{os.pathsep}{Path.cwd() / 'y'}"
