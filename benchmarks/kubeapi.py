"""What its powers cost the small Kubernetes API's requests that nobody disturbs.

    git worktree add ../base COMMIT
    python -m benchmarks.kubeapi --base ../base

Servers of both run side by side, and get the same requests in turns, so that what else the machine
does weighs on both alike. Besides, ours with a rule in force that is for somebody else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil

from chaos.kube_api import ApiRule
from common.paths import PROJECT
from lab.kubeapi.kubeconfig import CLIENTS
from lab.kubeapi.rules import Rule

_PODS = "/api/v1/namespaces/airflow/pods"
_PATCH = {"Content-Type": "application/merge-patch+json"}
_ENDED = json.dumps({"status": {"phase": "Succeeded"}})
_POD = {"spec": {"containers": [{"name": "base", "image": "worker", "args": ["x" * 600]}]}}


class Side:
    """A server, and a connection to it; `prefix` stands before each path."""

    def __init__(self, name: str, process: int, url: str, prefix: str = "") -> None:
        self.name = name
        self.url = url
        self.prefix = prefix
        self.process = psutil.Process(process)
        self.connection = HTTPConnection(url.removeprefix("http://"))
        self.used: list[float] = []

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> None:
        """Make a request, and read its answer."""
        self.connection.request(method, self.prefix + _PODS + path, body or None, headers)
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status < 300, (method, path, answer.status)

    def measure(self, count: int) -> None:
        """Take pods through their lives; note the server's CPU time a request."""
        before = sum(self.process.cpu_times()[:2])
        for number in range(count):
            pod = {**_POD, "metadata": {"name": f"p-{number}", "labels": {"a": "1"}}}
            self.ask("POST", "", json.dumps(pod), **{"Content-Type": "application/json"})
            self.ask("GET", f"/p-{number}")
            self.ask("PATCH", f"/p-{number}/status", _ENDED, **_PATCH)
            self.ask("DELETE", f"/p-{number}")
        self.used.append((sum(self.process.cpu_times()[:2]) - before) / (4 * count))


@contextmanager
def serving(checkout: Path, name: str, prefix: str = "") -> Iterator[Side]:
    """Run the server of a checkout."""
    with tempfile.TemporaryDirectory() as logs:
        argv = [sys.executable, "-m", "lab.kubeapi", "--logs", logs]
        with subprocess.Popen(argv, cwd=checkout, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split()[-1]
                yield Side(name, process.pid, url, prefix)
            finally:
                process.terminate()


def main() -> None:
    """Measure, and print each side's median and its ratio to the base."""
    parser = argparse.ArgumentParser("python -m benchmarks.kubeapi", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--count", type=int, default=1000, help="pods a round, four requests each")
    options = parser.parse_args()
    named = f"{CLIENTS}scheduler-1"
    with ExitStack() as stack:
        base = stack.enter_context(serving(options.base, "base"))
        ours = stack.enter_context(serving(PROJECT, "here, each client by its name", named))
        other = stack.enter_context(serving(PROJECT, "the same, a rule for another", named))
        rule = ApiRule(other.url, Rule(do="error", client="scheduler-2"))
        for _ in range(options.rounds):
            for side in (base, ours, other):
                side.measure(options.count)
        rule.withdraw()
    for side in (base, ours, other):
        ratio = statistics.median(a / b for a, b in zip(side.used, base.used, strict=True))
        used = 1e6 * statistics.median(side.used)
        print(f"{side.name}: {used:.0f} us of CPU a request (ratio {ratio:.2f})")


if __name__ == "__main__":
    main()
