"""`python -m lab.kubeapi` as a process."""

import socket
import subprocess
import sys
from pathlib import Path

import requests

from tests.contract.apis import KubernetesAPI, running_kubeapi


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab.kubeapi", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_busy_port_is_one_clear_line_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--logs", str(tmp_path), "--port", str(port))
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert f"Cannot listen on 127.0.0.1:{port}" in line
    assert "--port" in line


def test_a_missing_logs_directory_is_one_clear_line_and_exit_2(tmp_path: Path) -> None:
    ended = run("--logs", str(tmp_path / "missing"))
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "missing is not a directory" in line


def test_sigterm_ends_it_with_exit_0_and_ends_open_watches_in_good_order(tmp_path: Path) -> None:
    with running_kubeapi(tmp_path) as server:
        KubernetesAPI(server).create("p")
        url = f"{server.url}/api/v1/pods?watch=true"
        with requests.get(url, stream=True, timeout=10) as watch:
            lines = watch.iter_lines()
            assert b'"ADDED"' in next(lines)
            assert server.process is not None
            server.process.terminate()
            assert list(lines) == []
        assert server.process.wait(10) == 0


def test_a_client_that_stops_reading_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with running_kubeapi(tmp_path, "--history", "50") as server:
        api = KubernetesAPI(server)
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as frozen:
            frozen.sendall(
                f"GET /api/v1/namespaces/{api.namespace}/pods?watch=1 HTTP/1.1\r\n"
                f"Host: {host}\r\n\r\n".encode()
            )
            start = api.revision()
            body = api.pod("big")
            body["metadata"]["annotations"] = {"filler": "x" * 200_000}
            api.core.create_namespaced_pod(api.namespace, body)
            for number in range(100):
                api.label("big", n=str(number))
            last = api.revision()
            events = api.events(1, resource_version=str(int(last) - 1))
            assert events[0]["object"].metadata.labels == {"n": "99"}
            assert int(last) - int(start) == 101
