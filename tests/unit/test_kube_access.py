"""API calls and streams reach the same server the same way, as the same user: with TLS, a proxy,
tokens that change, plugins, certificates."""

import base64
import json
import logging
import os
import shutil
import socket
import ssl
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from lab.kube import credentials, kubeconfig
from lab.kube.channels import ChannelRefused, open_channels
from lab.kube.client import access_of, api_client
from lab.kube.failures import explained
from lab.kube.kubeconfig import default_kubeconfig, single_context
from lab.kube.logs import LogFollower, _FollowedLog, _Instance, _Trouble
from tests.deployment.standin import NAMESPACE, StandIn
from tests.unit.kube_ways import Authority, proxy_to

NAME = "api.example.com"
TOKEN = "first-token"
POD = "airflow-scheduler-1"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not there")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@dataclass
class There:
    """A server behind TLS, and how to get to it."""

    standin: StandIn
    authority: Authority
    folder: Path

    def kubeconfig(self, user: Any = None, **cluster: Any) -> dict[str, Any]:
        path = self.folder / "config"
        entry = {
            "server": f"https://127.0.0.1:{self.standin.port}",
            "certificate-authority": str(self.authority.certificate),
            "tls-server-name": NAME,
        }
        data = self.standin.kubeconfig()
        data["clusters"][0]["cluster"] = {**entry, **cluster}
        data["users"][0]["user"] = {"token": self.standin.token} if user is None else user
        path.write_text(yaml.safe_dump(data))
        return single_context(str(path), None)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def served(authority: Authority, *, client_certificate: bool = False) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    signed = authority.sign("server", f"DNS:{NAME}")
    tls.load_cert_chain(signed.certificate, signed.key)
    if client_certificate:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(authority.certificate)
    return tls


@pytest.fixture
def there(authority: Authority, tmp_path: Path) -> Iterator[There]:
    pod = {"kind": "Pod", "metadata": {"name": POD}, "spec": {"containers": [{"name": "x"}]}}
    pod["status"] = {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "x",
                "containerID": "containerd://1",
                "restartCount": 0,
                "image": "i",
                "imageID": "",
                "ready": True,
                "state": {"running": {}},
            }
        ],
    }
    with StandIn([pod], token=TOKEN, tls=served(authority)) as standin:
        standin.logs[POD] = ["one line"]
        yield There(standin, authority, tmp_path)


def call(client: Any) -> list[str]:
    core = kubernetes.client.CoreV1Api(client)
    return [pod.metadata.name for pod in core.list_namespaced_pod(NAMESPACE).items]


def stream(client: Any) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}/portforward"
    open_channels(access_of(client), path, [("ports", "8080")]).close()


def followed(client: Any, folder: Path, seconds: float = 5.0) -> str:
    follower = LogFollower(client, NAMESPACE, "", folder)
    follower.start()
    path, deadline = folder / f"{POD}.log", time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if path.exists() and (text := path.read_text()):
                return text
            time.sleep(0.05)
        return ""
    finally:
        follower.stop()


def works(client: Any, folder: Path) -> bool:
    """Whether all three ways to the server work."""
    stream(client)
    return call(client) == [POD] and "one line" in followed(client, folder / "logs")


# How the server is known.


def test_a_server_is_reached_by_its_certificate_s_name(there: There, tmp_path: Path) -> None:
    assert works(api_client(there.kubeconfig()), tmp_path)


def test_an_authority_may_stand_inline_or_at_a_relative_path(there: There) -> None:
    pem = there.authority.certificate.read_bytes()
    (there.folder / "ca.pem").write_bytes(pem)
    inline = {"certificate-authority-data": base64.b64encode(pem).decode()}
    for more in ({"certificate-authority": "ca.pem"}, {**inline, "certificate-authority": "no"}):
        client = api_client(there.kubeconfig(**more))
        assert call(client) == [POD]
        stream(client)


def test_no_certificate_is_checked_where_the_kubeconfig_says_so(
    there: There, tmp_path: Path
) -> None:
    more = {"insecure-skip-tls-verify": True, "tls-server-name": ""}
    assert works(api_client(there.kubeconfig(**more)), tmp_path)


@pytest.mark.parametrize(
    ("more", "said", "hint"),
    [
        ({"tls-server-name": ""}, "is for another name", "tls-server-name"),
        ({"certificate-authority": "other"}, "is not trusted", "certificate-authority"),
        ({"certificate-authority": ""}, "is not trusted", "certificate-authority"),
        ({"server": "https://127.0.0.1:1"}, "127.0.0.1:1: Connection refused", "--context"),
        ({"server": "https://no.such.host.invalid"}, "no.such.host.invalid:443: ", "--context"),
        ({"server": "http://127.0.0.1:{port}"}, "", ""),
    ],
)
def test_a_server_that_is_not_reached_is_told_the_same_by_calls_and_streams(
    there: There, more: dict[str, str], said: str, hint: str
) -> None:
    if more.get("certificate-authority"):
        other = Authority(there.folder, "other")
        more = {"certificate-authority": str(other.certificate)}
    more = {key: value.format(port=there.standin.port) for key, value in more.items()}
    client = api_client(there.kubeconfig(**more))
    for ask in (call, stream):
        with pytest.raises((HTTPError, OSError)) as caught:
            ask(client)
        error = explained(caught.value, "The cluster does not answer")
        assert str(error).startswith("The cluster does not answer: ")
        assert said in error.message
        assert hint in error.hint
        assert "\n" not in str(error)
        assert "object at" not in str(error)


# The way.


def test_calls_and_streams_go_through_the_proxy_with_its_login(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f"https://{NAME}:6443"
    with proxy_to(there.standin.port, "me:p@ss/word") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:p%40ss%2Fword"))
        client = api_client(there.kubeconfig(server=server))
        for way in (call, stream, lambda c: followed(c, tmp_path)):
            proxy.asked.clear()
            client.rest_client.pool_manager.clear()
            way(client)
            assert proxy.asked
            assert set(proxy.asked) == {f"CONNECT {NAME}:6443 HTTP/1.1"}
        assert not proxy.refused


@pytest.mark.parametrize("where", ["NO_PROXY", "no_proxy"])
def test_calls_and_streams_go_straight_where_no_proxy_says_so(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The server's name leads to this machine here, as in a company's DNS."""
    real = socket.create_connection

    def resolved(address: tuple[str, int], *more: Any, **options: Any) -> socket.socket:
        return real(("127.0.0.1", address[1]), *more, **options)

    monkeypatch.setattr(socket, "create_connection", resolved)
    with proxy_to(there.standin.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        monkeypatch.setenv(where, "10.0.0.0/8, .example.com")
        client = api_client(there.kubeconfig(server=f"https://{NAME}:{there.standin.port}"))
        assert works(client, tmp_path)
        assert proxy.asked == []


def test_the_kubeconfig_s_proxy_is_taken_by_calls_and_streams(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with proxy_to(there.standin.port, "me:word") as proxy:
        client = api_client(there.kubeconfig(**{"proxy-url": proxy.url("me:word")}))
        assert works(client, tmp_path)
        assert len(proxy.asked) >= 3


def test_a_socks_proxy_looks_the_server_s_name_up(there: There, tmp_path: Path) -> None:
    with proxy_to(there.standin.port, "me:word", socks=True) as proxy:
        more = {"proxy-url": proxy.url("me:word"), "server": f"https://{NAME}:6443"}
        assert works(api_client(there.kubeconfig(**more)), tmp_path)
        assert set(proxy.asked) == {f"{NAME}:6443"}
        more["proxy-url"] = proxy.url("me:wrong")
        with pytest.raises(HTTPError, match="does not accept the login"):
            call(api_client(there.kubeconfig(**more)))


def test_a_proxy_that_refuses_is_asked_once_and_told_without_its_login(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_to(there.standin.port, "me:word") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url("me:hunter2"))
        client = api_client(there.kubeconfig(server=f"https://{NAME}:6443"))
        for number, ask in enumerate((call, stream), 1):
            with pytest.raises((HTTPError, OSError)) as caught:
                ask(client)
            assert proxy.refused == number
            text = str(explained(caught.value, "The cluster does not answer"))
            assert f"http://127.0.0.1:{proxy.port} (from HTTPS_PROXY) answers 407" in text
            assert "hunter2" not in text
            assert "NO_PROXY" in text


def test_a_proxy_that_is_not_there_is_named(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@127.0.0.1:1")
    client = api_client(there.kubeconfig(server=f"https://{NAME}:6443"))
    with pytest.raises(HTTPError) as caught:
        call(client)
    text = str(explained(caught.value, "The cluster does not answer"))
    assert "the proxy http://127.0.0.1:1 (from HTTPS_PROXY): Connection refused" in text
    assert "hunter2" not in text


def test_what_is_no_proxy_is_told(there: There) -> None:
    with proxy_to(there.standin.port) as proxy:
        proxy.answer = "what?"
        proxy_url = {"proxy-url": proxy.url()}
        with pytest.raises(HTTPError) as caught:
            call(api_client(there.kubeconfig(**proxy_url)))
    assert "does not answer as an HTTP proxy" in str(explained(caught.value, "x"))


# Who we are.


@pytest.mark.parametrize("stored", ["token", "tokenFile", "both"])
def test_a_token_is_sent_by_calls_and_streams(there: There, tmp_path: Path, stored: str) -> None:
    (there.folder / "token").write_text(f"{TOKEN}\n")
    user = {"token": TOKEN if stored == "token" else "wrong", "tokenFile": "token"}
    if stored != "both":
        user = {stored: user[stored]}
    assert works(api_client(there.kubeconfig(user)), tmp_path)


@pytest.mark.parametrize("ask", [call, stream])
def test_a_token_s_file_that_was_rotated_is_read_again_when_it_is_refused(
    there: There, ask: Callable[[Any], object]
) -> None:
    file = there.folder / "token"
    file.write_text(TOKEN)
    client = api_client(there.kubeconfig({"tokenFile": "token"}))
    ask(client)
    there.standin.token = "second-token"
    file.write_text("second-token\n")
    ask(client)
    file.unlink()
    ask(client)


def test_a_token_s_file_is_read_again_before_it_is_refused(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = there.folder / "token"
    file.write_text(TOKEN)
    monkeypatch.setattr(credentials, "_FILE_SECONDS", 0.0)
    client = api_client(there.kubeconfig({"tokenFile": "token"}))
    there.standin.token = "second-token"
    file.write_text("second-token")
    before = len(there.standin.asked)
    call(client)
    assert len(there.standin.asked) == before + 1


@pytest.mark.parametrize("ask", [call, stream])
def test_a_token_that_was_renewed_in_the_user_s_kubeconfig_is_found_by_a_lab_s_copy(
    there: There, ask: Callable[[Any], object]
) -> None:
    copy = there.folder / "copy"
    copy.write_text(yaml.safe_dump(there.kubeconfig()))
    client = api_client(copy)
    there.standin.token = "second-token"
    with pytest.raises((ApiException, ChannelRefused)) as caught:
        ask(client)
    error = explained(caught.value, "Pods cannot be listed")
    assert "does not accept the credentials (401 Unauthorized" in error.message
    assert "Log in again" in error.hint
    there.kubeconfig()  # as a login of the user's does
    ask(client)
    before = len(there.standin.asked)
    ask(api_client(copy))
    assert len(there.standin.asked) == before + 1, "another client of this process knows it too"


def test_a_log_is_followed_on_with_a_renewed_token(there: There, tmp_path: Path) -> None:
    client = api_client(there.kubeconfig())
    there.standin.token = "second-token"
    there.kubeconfig()
    assert "one line" in followed(client, tmp_path)


def test_a_log_that_is_refused_for_its_token_is_asked_for_again_and_nothing_is_said(
    there: There, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = api_client(there.kubeconfig())
    there.standin.token = "second-token"
    there.kubeconfig()
    path = tmp_path / "x.log"
    log = _FollowedLog(access_of(client), NAMESPACE, path, _Trouble())
    instance = _Instance(POD, "uid", "x", "containerd://1", 0, False, path.name)
    for _ in range(2):
        log.follow(instance)
        deadline = time.monotonic() + 10
        while log.is_busy() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "one line" in path.read_text()
    assert not caplog.records


def test_a_user_without_credentials_is_anonymous(there: There) -> None:
    with pytest.raises(ApiException) as caught:
        call(api_client(there.kubeconfig({})))
    assert caught.value.status == 401
    there.standin.token = ""
    assert call(api_client(there.kubeconfig({}))) == [POD]


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_shown_by_calls_and_streams(
    there: There, tmp_path: Path, inline: bool
) -> None:
    tls = served(there.authority, client_certificate=True)
    signed = there.authority.sign("reader")
    shutil.copy(signed.certificate, tmp_path / "reader.pem")
    shutil.copy(signed.key, tmp_path / "reader.key")
    user = {"client-certificate": "reader.pem", "client-key": "reader.key"}
    if inline:
        parts = {name: (tmp_path / path).read_bytes() for name, path in user.items()}
        user = {f"{name}-data": base64.b64encode(data).decode() for name, data in parts.items()}
    with StandIn(tls=tls) as standin:
        there.standin = standin
        client = api_client(there.kubeconfig(user))
        assert call(client) == []
        with pytest.raises(ChannelRefused, match="404"):
            stream(client)
        with pytest.raises((HTTPError, OSError)):
            call(api_client(there.kubeconfig({})))


def test_whom_one_acts_as_is_sent_with_each_group(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[tuple[str, str]]] = []
    answer = StandIn._answer

    async def noted(self: StandIn, request: Any) -> Any:
        seen.append([each for each in request.headers.items() if each[0].startswith("Imp")])
        return await answer(self, request)

    monkeypatch.setattr(StandIn, "_answer", noted)
    user: dict[str, Any] = {
        "token": TOKEN,
        "as": "ops",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"Example.com/Why": ["x"]},
    }
    with StandIn(tls=served(there.authority)) as standin:
        there.standin = standin
        client = api_client(there.kubeconfig(user))
        call(client)
        with pytest.raises(ChannelRefused, match="404"):
            stream(client)
    assert seen == 2 * [
        [
            ("Impersonate-User", "ops"),
            ("Impersonate-Uid", "7"),
            ("Impersonate-Group", "a"),
            ("Impersonate-Group", "b"),
            ("Impersonate-Extra-example.com%2Fwhy", "x"),
        ]
    ]


def _jwt(expires: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{claims}.x"


def test_kubectl_s_own_token_of_openid_connect_is_taken_while_it_lasts(there: There) -> None:
    there.standin.token = _jwt(time.time() + 100)
    provider = {"name": "oidc", "config": {"id-token": there.standin.token}}
    assert call(api_client(there.kubeconfig({"auth-provider": provider}))) == [POD]
    provider["config"] = {"id-token": _jwt(time.time() - 1)}
    with pytest.raises(UserError, match=r"oidc has expired.*Run kubectl once"):
        api_client(there.kubeconfig({"auth-provider": provider}))


# Inside a pod.


def test_inside_a_pod_its_account_s_token_is_sent_and_found_again_when_rotated(
    there: There, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    shutil.copy(there.authority.certificate, folder / "ca.crt")
    (folder / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*there.authority.sign("kubernetes", "IP:127.0.0.1"))
    with StandIn(token=TOKEN, tls=tls) as standin:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(standin.port))
        copy = tmp_path / "copy"
        copy.write_text(yaml.safe_dump(single_context(default_kubeconfig(), None)))
        client = api_client(copy)
        assert call(client) == []
        standin.token = "second-token"
        (folder / "token").write_text("second-token\n")
        assert call(client) == []


# Plugins.


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
