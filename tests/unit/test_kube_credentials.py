"""API calls and streams are the same user's: tokens that change, certificates, inside a pod."""

import base64
import json
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from common.errors import UserError
from lab.kube import credentials, kubeconfig
from lab.kube.channels import ChannelRefused
from lab.kube.client import access_of, api_client
from lab.kube.failures import explained
from lab.kube.kubeconfig import default_kubeconfig, single_context
from lab.kube.logs import _FollowedLog, _Instance, _Trouble
from tests.deployment.standin import NAMESPACE, StandIn
from tests.unit.kube_reached import NEEDED, POD, TOKEN, There, call, followed, served, stream, works

pytest_plugins = ["tests.unit.kube_reached"]
pytestmark = NEEDED


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
