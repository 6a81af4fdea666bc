"""A server behind TLS, the ways to it, and what shows that each works."""

import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from lab.kube.channels import open_channels
from lab.kube.client import access_of
from lab.kube.kubeconfig import single_context
from lab.kube.logs import LogFollower
from tests.deployment.standin import NAMESPACE, StandIn
from tests.unit.kube_ways import Authority

NAME = "api.example.com"
TOKEN = "first-token"
POD = "airflow-scheduler-1"
NEEDED = [
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not there"),
    pytest.mark.usefixtures("no_proxies"),
]
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture
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
