"""A kubeconfig's plugin is run when its token is needed, and once for all."""

import base64
import json
import logging
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from common.errors import UserError
from lab.kube import credentials
from lab.kube.channels import ChannelRefused
from lab.kube.client import api_client
from lab.kube.failures import explained
from tests.deployment.standin import StandIn
from tests.unit.kube_reached import NAME, NEEDED, POD, TOKEN, There, call, served, stream, works

pytest_plugins = ["tests.unit.kube_reached"]
pytestmark = NEEDED


class TrialPlugin:
    """A plugin of which one sees how often it ran, and with what."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "bin" / "plugin"
        self.path.parent.mkdir()
        self.path.write_text(
            f"#!{sys.executable}\n"
            "import os, sys\n"
            f"folder = {str(folder)!r}\n"
            "info = os.environ['KUBERNETES_EXEC_INFO']\n"
            "got = [info, sys.argv[1:], os.environ.get('PROFILE'), sys.stdin.read()]\n"
            "print(repr(got), file=open(folder + '/runs', 'a'))\n"
            "print(open(folder + '/stderr').read(), file=sys.stderr)\n"
            "print(open(folder + '/stdout').read())\n"
            "sys.exit(int(open(folder + '/code').read()))\n"
        )
        self.path.chmod(0o755)
        self.behave()

    def behave(self, stdout: str = "", stderr: str = "", code: int = 0) -> None:
        for name, text in (("stdout", stdout), ("stderr", stderr), ("code", str(code))):
            (self._folder / name).write_text(text)

    def give(self, *, version: str = "v1", seconds: float | None = None, **status: str) -> None:
        if seconds is not None:
            until = time.gmtime(time.time() + seconds)
            status["expirationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", until)
        answer = {
            "apiVersion": f"client.authentication.k8s.io/{version}",
            "kind": "ExecCredential",
            "status": status,
        }
        self.behave(json.dumps(answer))

    @property
    def runs(self) -> list[list[Any]]:
        path = self._folder / "runs"
        return [eval(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def plugin(tmp_path: Path) -> TrialPlugin:
    return TrialPlugin(tmp_path)


def by_plugin(version: str = "v1", **more: Any) -> dict[str, Any]:
    entry = {"command": "./bin/plugin", "apiVersion": f"client.authentication.k8s.io/{version}"}
    return {"exec": {**entry, **more}}


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugin_s_token_is_sent_and_it_runs_once_for_all_clients(
    there: There, tmp_path: Path, plugin: TrialPlugin, version: str
) -> None:
    plugin.give(version=version, token=TOKEN)
    more = {"args": ["a", "b"], "env": [{"name": "PROFILE", "value": "prod"}]}
    config = there.kubeconfig(by_plugin(version, **more, interactiveMode="IfAvailable"))
    for _ in range(3):
        assert works(api_client(config), tmp_path)
    ((info, arguments, profile, stdin),) = plugin.runs
    assert json.loads(info) == {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    assert (arguments, profile, stdin) == (["a", "b"], "prod", "")


def test_a_plugin_is_told_of_the_cluster_if_it_wants_that(
    there: There, plugin: TrialPlugin
) -> None:
    plugin.give(token=TOKEN)
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    more = {"extensions": [extension], "disable-compression": True}
    api_client(there.kubeconfig(by_plugin(provideClusterInfo=True), **more))
    pem = there.authority.certificate.read_bytes()
    assert json.loads(plugin.runs[0][0])["spec"]["cluster"] == {
        "server": f"https://127.0.0.1:{there.standin.port}",
        "tls-server-name": NAME,
        "certificate-authority-data": base64.b64encode(pem).decode(),
        "disable-compression": True,
        "config": {"audience": "x"},
    }


def test_a_plugin_runs_again_when_its_token_expires_and_not_before(
    there: There, plugin: TrialPlugin
) -> None:
    plugin.give(token=TOKEN, seconds=3600)
    client = api_client(there.kubeconfig(by_plugin()))
    call(client)
    assert len(plugin.runs) == 1
    plugin.give(token=TOKEN, seconds=-5)
    soon = api_client(there.kubeconfig(by_plugin(args=["soon"])))
    there.standin.token = "second-token"
    plugin.give(token="second-token", seconds=3600)
    before = len(there.standin.asked)
    call(soon)
    stream(soon)
    assert len(plugin.runs) == 3
    assert len(there.standin.asked) == before + 2, "nothing was refused first"


@pytest.mark.parametrize("ask", [call, stream])
def test_a_plugin_runs_again_when_its_token_is_refused(
    there: There, plugin: TrialPlugin, ask: Callable[[Any], object]
) -> None:
    plugin.give(token=TOKEN)
    client = api_client(there.kubeconfig(by_plugin()))
    there.standin.token = "second-token"
    plugin.give(token="second-token")
    ask(client)
    ask(client)
    assert len(plugin.runs) == 2


def test_a_plugin_that_does_not_help_is_not_run_for_each_request(
    there: There, plugin: TrialPlugin, caplog: pytest.LogCaptureFixture
) -> None:
    plugin.give(token=TOKEN)
    client = api_client(there.kubeconfig(by_plugin()))
    there.standin.token = "second-token"
    plugin.behave(stderr="line\nThe SSO session has expired: token=hunter2", code=3)
    with caplog.at_level(logging.WARNING):
        for ask in (call, stream, call):
            with pytest.raises((ApiException, ChannelRefused)) as caught:
                ask(client)
            text = str(explained(caught.value, "Pods cannot be listed"))
            assert "failed (exit code 3): The SSO session has expired" in text
            assert "hunter2" not in text + caplog.text
    assert len(plugin.runs) == 2
    assert caplog.text.count("The credentials cannot be renewed") == 1


def test_a_plugin_s_certificate_is_shown_and_renewed(
    there: There, plugin: TrialPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    answer = StandIn._answer

    async def noted(self: StandIn, request: Any) -> Any:
        subject = request.transport.get_extra_info("peercert")["subject"]
        seen.append(subject[0][0][1])
        return await answer(self, request)

    def give(name: str) -> None:
        signed = there.authority.sign(name)
        plugin.give(
            seconds=-5,
            clientCertificateData=signed.certificate.read_text(),
            clientKeyData=signed.key.read_text(),
        )

    monkeypatch.setattr(StandIn, "_answer", noted)
    monkeypatch.setattr(credentials, "_PLUGIN_PAUSE", 0.0)
    with StandIn(tls=served(there.authority, client_certificate=True)) as standin:
        there.standin = standin
        give("one")
        client = api_client(there.kubeconfig(by_plugin()))
        for name in ("one", "two"):
            give(name)
            with pytest.raises(ChannelRefused, match="404"):
                stream(client)
            client.rest_client.pool_manager.clear()
            call(client)
    assert seen == ["one", "one", "two", "two"]


def test_no_key_stays_in_a_file(there: There, tmp_path: Path) -> None:
    signed = there.authority.sign("reader")
    folder = tmp_path / "temporary"
    folder.mkdir()
    user = {
        "client-certificate-data": base64.b64encode(signed.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(signed.key.read_bytes()).decode(),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        client = api_client(there.kubeconfig({**user, "token": TOKEN}))
        assert call(client) == [POD]
        assert list(folder.iterdir()) == []


def test_a_plugin_gets_nothing_that_is_typed(there: There, plugin: TrialPlugin) -> None:
    plugin.give(token=TOKEN)
    ours = os.dup(0)
    reading, writing = os.pipe()
    try:
        os.dup2(reading, 0)
        os.write(writing, b"typed")
        os.close(writing)
        api_client(there.kubeconfig(by_plugin()))
    finally:
        os.dup2(ours, 0)
        os.close(ours)
        os.close(reading)
    assert plugin.runs[0][3] == ""


@pytest.mark.parametrize(
    ("more", "said", "hint"),
    [
        ({"command": "no-such-plugin"}, "no-such-plugin, .* is not there", "on PATH"),
        (
            {"command": "no-such-plugin", "installHint": "\n Get it\n from x \n"},
            "is not there",
            "Get it from x",
        ),
        ({"command": "./bin"}, "is not there", "on PATH"),
        ({"interactiveMode": "Always"}, "wants a terminal", "while nobody looks"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1", "v1beta1"),
        ({"apiVersion": ""}, "no version", "v1beta1"),
    ],
)
def test_a_plugin_that_cannot_be_run_is_told(
    there: There, plugin: TrialPlugin, more: dict[str, str], said: str, hint: str
) -> None:
    plugin.give(token=TOKEN)
    with pytest.raises(UserError, match=said) as caught:
        api_client(there.kubeconfig(by_plugin(**more)))
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)
    assert not plugin.runs


@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        ("hunter2", "printed no credentials"),
        ('{"kind": "hunter2"}', "printed no credentials"),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "x", "status": {}}',
            "answers in client.authentication.k8s.io/v1beta1",
        ),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {}}',
            "neither a token nor a certificate",
        ),
        (
            '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": '
            '{"clientCertificateData": "hunter2"}}',
            "neither a token nor a certificate",
        ),
    ],
)
def test_a_plugin_that_gives_nothing_is_told_without_what_it_gave(
    there: There, plugin: TrialPlugin, stdout: str, said: str
) -> None:
    plugin.behave(stdout)
    with pytest.raises(UserError, match=said) as caught:
        api_client(there.kubeconfig(by_plugin()))
    assert "hunter2" not in str(caught.value)


def test_a_plugin_that_fails_is_told_and_not_gone_on_without(
    there: There, plugin: TrialPlugin
) -> None:
    plugin.behave(stderr="Unable to locate credentials", code=255)
    with pytest.raises(UserError, match=r"exit code 255.*Unable to locate") as caught:
        api_client(there.kubeconfig(by_plugin()))
    assert "Log in again" in caught.value.hint
    assert not there.standin.asked


def test_a_plugin_that_cannot_be_executed_is_told(there: There, plugin: TrialPlugin) -> None:
    plugin.path.write_text("#!/no/such/interpreter\n")
    plugin.path.chmod(stat.S_IRWXU)
    with pytest.raises(UserError, match="cannot be run"):
        api_client(there.kubeconfig(by_plugin()))


def test_threads_wait_for_one_run_of_a_plugin(there: There, plugin: TrialPlugin) -> None:
    plugin.give(token=TOKEN)
    client = api_client(there.kubeconfig(by_plugin()))
    there.standin.token = "second-token"
    plugin.give(token="second-token")
    threads = [threading.Thread(target=call, args=(client,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plugin.runs) == 2
