#!/usr/bin/env bash
# The first request of a worker stops Airflow's API server for seconds: it answers nobody.
#
# apache-airflow 3.3.2 (apache-airflow-core 3.3.2, Python 3.11, one server process, SQLite).
#
# One would guess that an API server that answers `/api/v2/monitor/health`, by which Airflow's chart
# tells that it is up, is ready for workers. But the application that answers workers, mounted at
# /execution, is made whole at the first request that comes to it, be it for `/execution/health`: the
# models and routes of all its versions (Cadwyn), in the event loop. Meanwhile everybody waits, users
# and workers alike; it is so in each server process, and after each of its restarts. That is some 9 s
# of a whole processor. Where the pod's limit is a part of one, or the node is busy, it is several
# times as long; a worker asks five times for its start, for 5 s each ([workers]
# execution_api_timeout, execution_api_retries), and then its task has failed without a start. A
# request for `/execution/health` after each start of the API server spares the first worker that.
#
# Seen:   first 9.2 s (CPU 8.4 s), meanwhile somebody else waited 9.2 s
#         second 0.00 s
set -euo pipefail

airflow=3.3.2
day=2026-09-18T00:00:00Z

work=$(mktemp -d /tmp/finding.XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$work/venv/bin/uv" pip install --quiet --python "$work/venv/bin/python" \
    --exclude-newer "$day" "apache-airflow==$airflow"

cat > "$work/finding.py" <<'PYTHON'
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import psutil

work = Path(sys.argv[1])
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
airflow = Path(sys.executable).parent / "airflow"
env = {
    "PATH": os.environ["PATH"],
    "HOME": str(work),
    "AIRFLOW_HOME": str(work / "home"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
}
log = (work / "log").open("wb")
quiet = {"env": env, "stdout": log, "stderr": log}
subprocess.run([airflow, "db", "migrate"], check=True, **quiet)
command = [airflow, "api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
server = subprocess.Popen(command, start_new_session=True, **quiet)


def get(path):
    """Return how many seconds an answer took."""
    begun = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
        answer.read()
    return time.monotonic() - begun


def used():
    """Return the CPU seconds of the server and its children."""
    family = [psutil.Process(server.pid)]
    family += family[0].children(recursive=True)
    return sum(sum(process.cpu_times()[:2]) for process in family)


try:
    for _ in range(600):
        try:
            get("/api/v2/monitor/health")
            break
        except OSError:
            time.sleep(0.2)
    else:
        raise SystemExit("the API server did not start")
    time.sleep(5)
    get("/api/v2/version")

    waits, over = [], threading.Event()

    def somebody_else():
        while not over.is_set():
            waits.append(get("/api/v2/version"))
            time.sleep(0.05)

    other = threading.Thread(target=somebody_else)
    other.start()
    time.sleep(1)
    before = used()
    first = get("/execution/health")
    cpu = used() - before
    over.set()
    other.join()
    second = get("/execution/health")
finally:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()

print(f"first {first:.1f} s (CPU {cpu:.1f} s), meanwhile somebody else waited {max(waits):.1f} s")
print(f"second {second:.2f} s")
as_seen = cpu > 2 and max(waits) > first / 2 and second < first / 10
sys.exit(0 if as_seen else "it behaves otherwise now")
PYTHON

"$work/venv/bin/python" "$work/finding.py" "$work"
