"""A real etcd and kube-apiserver instead of kubeapi, by the envtest convention of kubebuilder.

`KUBEBUILDER_ASSETS` names a directory with both binaries, any version from 1.20 on. There are no
nodes, no scheduler and no controllers: pods run when our kubelet takes them, as with kubeapi.
"""

import logging
import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import requests

from common.environment import bare
from common.errors import UserError
from common.files import last_line
from common.spawn import spawn, wait_exit
from common.waiting import until
from lab.embedded.postgres import free_ports
from lab.kubeapi.kubeconfig import write_kubeconfig

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
_HOST = "127.0.0.1"
_BOOT_SECONDS = 90.0
_STOP_SECONDS = 5.0

log = logging.getLogger(__name__)


def assets() -> Path:
    """Return the directory with the binaries; raises UserError if it is not named or not whole."""
    hint = "Let it name a directory with etcd and kube-apiserver (setup-envtest makes one)."
    named = os.environ.get(ASSETS_VARIABLE)
    if not named:
        raise UserError(f"{ASSETS_VARIABLE} is not set.", hint)
    directory = Path(named)
    for name in ("etcd", "kube-apiserver"):
        if not os.access(directory / name, os.X_OK):
            raise UserError(f"{ASSETS_VARIABLE}={named} has no executable {name}.", hint)
    return directory.resolve()


class EnvTest:
    """One etcd and one kube-apiserver on free loopback ports, with all they write in `directory`.

    Every authenticated request may do everything; the token is in `kubeconfig`, which has a context
    for each of `clients`, all alike. The processes are in `processes` by name, so that a ledger can
    adopt them as soon as they run.
    """

    def __init__(self, directory: Path, clients: Sequence[str] = ("lab",)) -> None:
        self._clients = clients
        self._assets = assets()
        self._directory = directory.resolve()
        self.kubeconfig = self._directory / "kubeconfig"
        self.server = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> "EnvTest":
        """Boot both, until pods can be created. Raises UserError, leaving nothing running."""
        self._directory.mkdir(parents=True, exist_ok=True)
        client, peer, secure = free_ports(3)
        token = secrets.token_hex(16)
        server = self.server = f"https://{_HOST}:{secure}"
        certificate = self._directory / "certs" / "apiserver.crt"
        log.info("Booting etcd and kube-apiserver on port %d", secure)
        try:
            self._start_etcd(f"http://{_HOST}:{client}", f"http://{_HOST}:{peer}")
            self._start_apiserver(f"http://{_HOST}:{client}", secure, token)
            self._wait_until_ready(server, certificate, token)
        except BaseException:
            self.close()
            raise
        write_kubeconfig(self.kubeconfig, server, "default", certificate, token, self._clients)
        return self

    def close(self) -> None:
        """End both, the API server first; a process that does not end in time is killed."""
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            process.terminate()
            if wait_exit(process, _STOP_SECONDS) is None:
                process.kill()
                process.wait()

    def _start_etcd(self, client: str, peer: str) -> None:
        binary = self._assets / "etcd"
        arguments = [
            "--data-dir=etcd-data",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]
        # Older etcds do not have it; a lab's data need not survive the machine.
        if "--unsafe-no-fsync" in _help_of(binary):
            arguments.append("--unsafe-no-fsync")
        self._spawn("etcd", [str(binary), *arguments])

    def _start_apiserver(self, etcd: str, port: int, token: str) -> None:
        tokens = self._directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{token},lab,lab,system:masters\n")
        # The server makes itself a certificate before it reads the service-account keys, so
        # the certificate's key can serve as both: without nodes nobody asks for such tokens.
        key = "certs/apiserver.key"
        arguments = [
            f"--etcd-servers={etcd}",
            "--cert-dir=certs",
            f"--bind-address={_HOST}",
            f"--advertise-address={_HOST}",
            f"--secure-port={port}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=AlwaysAllow",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        ]
        self._spawn("kube-apiserver", [str(self._assets / "kube-apiserver"), *arguments])

    def _spawn(self, name: str, command: list[str]) -> None:
        self.processes[name] = spawn(
            command, env=bare(self._directory), cwd=self._directory, log=self.log_of(name)
        )

    def log_of(self, name: str) -> Path:
        """Return where one of the two writes to."""
        return self._directory / f"{name}.log"

    def _wait_until_ready(self, server: str, certificate: Path, token: str) -> None:
        """Wait for the namespace `default`, which the server makes only after it is ready."""

        def ready() -> bool:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    log = self.log_of(name)
                    last = last_line(log.read_text(errors="replace"))
                    raise UserError(f"{name} ended while it booted: {last}", f"See {log}.")
            return certificate.exists() and _answers(server, certificate, token)

        if not until(ready, _BOOT_SECONDS):
            raise UserError(
                f"kube-apiserver was not ready after {_BOOT_SECONDS:.0f} s.",
                f"See {self.log_of('kube-apiserver')}.",
            )


def _answers(server: str, certificate: Path, token: str) -> bool:
    with requests.Session() as session:
        # A proxy from the environment has no business with the loopback.
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        try:
            answer = session.get(
                f"{server}/api/v1/namespaces/default", verify=str(certificate), timeout=5
            )
        except (requests.RequestException, OSError):
            return False
        return answer.ok


def _help_of(binary: Path) -> str:
    shown = subprocess.run(
        [binary, "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    return shown.stdout + shown.stderr
